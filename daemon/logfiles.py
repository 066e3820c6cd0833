"""Reading the logs of trials, where the runner left them, and keeping logs short."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cnnbo.daemon.launch import attempt_dir

_CHUNK = 64 * 1024
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")

LOG_DAYS = 30
"""Logs of trials are kept as they are for so long after their last line."""

OLD_LOG_BYTES = 64 * 1024
"""Then so much of each is: the error and what led to it."""


def log_files(state: Path, study: str, trial: int, attempt: int) -> list[Path]:
    """The log of an attempt, oldest part first; empty while there is none."""
    directory = attempt_dir(state, study, trial, attempt)
    return [path for path in (directory / "log.1", directory / "log") if path.exists()]


def tail(state: Path, study: str, trial: int, attempt: int, count: int) -> list[str]:
    """The last `count` lines of an attempt's output; of a progress bar only its newest state."""
    lines: list[str] = []
    for path in reversed(log_files(state, study, trial, attempt)):
        lines = [*_last_lines(path, count - len(lines)), *lines]
        if len(lines) >= count:
            break
    return lines


def _last_lines(path: Path, count: int) -> list[str]:
    """Read from the end, block by block: logs may hold tens of megabytes."""
    if count <= 0:
        return []
    with path.open("rb") as file:
        position = file.seek(0, 2)
        block = b""
        while position > 0 and block.count(b"\n") <= count:
            step = min(_CHUNK, position)
            position -= step
            file.seek(position)
            block = file.read(step) + block
    lines = block.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n") if block else []
    return [_drawn(line) for line in lines[-count:]]


def _drawn(line: bytes) -> str:
    """What a terminal would show of a line: the newest state of a progress bar."""
    return clean(line.rstrip(b"\r").rsplit(b"\r", 1)[-1])


def keep_end(path: Path, limit: int) -> None:
    """Cut a log that is longer than `limit` bytes down to its last whole lines within them; none there is no error.

    The file stays the same one: whoever has it open for appending goes on at its new end. What is written at this very
    moment may be lost.
    """
    with suppress(FileNotFoundError), path.open("r+b") as file:
        size = file.seek(0, 2)
        if size <= limit:
            return
        file.seek(size - limit)
        file.readline()
        end = file.read(limit)
        file.seek(0)
        file.truncate()
        file.write(end)


def shorten_old_logs(state: Path, now: float) -> None:
    """Cut trials' logs that nobody wrote to for `LOG_DAYS` down to their ends; all other files stay as they are.

    Args:
        state: the state folder.
        now: seconds since the epoch.
    """
    for path in _all_logs(state):
        with suppress(OSError):  # removed with its study meanwhile, or not ours to write
            if now - path.stat().st_mtime < LOG_DAYS * 86400:
                continue
            if path.name == "log.1":
                path.unlink()  # the older half
            else:
                keep_end(path, OLD_LOG_BYTES)


def _all_logs(state: Path) -> Iterator[Path]:
    """The logs of all attempts; what is removed while this looks is passed over."""
    for name, folders, files in os.walk(state / "studies"):
        folder = Path(name)
        if folder.name.isdigit() and folder.parent.parent.name == "trials":
            folders.clear()
            yield from (folder / file for file in ("log", "log.1") if file in files)


def clean(line: bytes) -> str:
    """Text that is safe for a terminal: without colours, and what else isn't printable is shown, not obeyed."""
    text = _COLOUR.sub("", line.decode(errors="replace").rstrip("\r\n"))
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)


def follow(path: Path) -> Iterator[str]:
    """What is appended to a file from now on, as whole lines; yields an empty string when there is nothing new."""
    rest = b""
    with path.open("rb") as file:
        file.seek(0, 2)
        while True:
            block = file.read(_CHUNK)
            if not block:
                yield ""
                continue
            *whole, rest = (rest + block).split(b"\n")
            yield from (f"{_drawn(line)}\n" for line in whole)
