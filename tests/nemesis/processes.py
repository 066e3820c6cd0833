"""Finding every process of a round, by whatever ties it to the round, and waiting for their ends."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


class Marked:
    """The processes that carry a round's marker in their environment, or in their arguments where they cleared that."""

    def __init__(self, marker: str) -> None:
        self._marker = marker.encode()

    def find(self) -> dict[int, str]:
        """What lives now: pids with a description; the dead that nobody has collected yet don't count."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and self._carries(entry):
                found[int(entry.name)] = f"process {entry.name}: {_read(entry / 'cmdline').decode(errors='replace')}"
        return {pid: text.replace("\0", " ").strip() for pid, text in found.items()}

    def _carries(self, process: Path) -> bool:
        return self._marker in _read(process / "environ") or self._marker in _read(process / "cmdline")

    def kill(self) -> None:
        """End them all."""
        while found := self.find():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until_gone(self, 1.0)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_until_gone(marked: Marked, limit_s: float) -> list[str]:
    """Wait until nothing marked lives, at most so long; returns what is left, as sentences."""
    deadline = time.monotonic() + limit_s
    while (found := marked.find()) and (left_s := deadline - time.monotonic()) > 0:
        for pid in found:
            _wait_for(pid, left_s)
    return list(found.values())


def _wait_for(pid: int, limit_s: float) -> None:
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(limit_s * 1000)
        finally:
            os.close(pidfd)


def spawn_seconds() -> float:
    """How long a bare interpreter takes from start to end now: what a loaded machine is known by."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-S", "-c", ""], check=True, cwd="/")
    return time.monotonic() - begin
