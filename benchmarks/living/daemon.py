"""A daemon of the benchmark's own, as a child process in a folder of its own, and what /proc tells of it."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cnnbo.daemon.processes import descendants

CNNBO = Path(sys.executable).with_name("cnnbo")
"""The command line of the environment that runs the benchmark."""

RUNNER = "cnnbo.daemon.runner"
"""The module that trial runners run."""

_ROLES = {"proposer": "cnnbo.daemon.proposer_process", "broker": "cnnbo.daemon.broker"}
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """What one process holds.

    Attributes:
        rss_mib: resident memory.
        descriptors: open file descriptors.
        threads: threads.
        cpu_s: processor time since it began, its children's left out.
    """

    rss_mib: float
    descriptors: int
    threads: int
    cpu_s: float


def vitals(pid: int) -> Vitals:
    """What a process holds now.

    Raises:
        OSError: there is no such process.
    """
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    stat = (process / "stat").read_text().rpartition(")")[2].split()
    return Vitals(
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        cpu_s=(int(stat[11]) + int(stat[12])) * _TICKS_S,
    )


def _command_line(pid: int) -> list[str]:
    """The words a process was called with; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


@dataclass(slots=True)
class Daemon:
    """A daemon that can be started, killed and started again.

    Attributes:
        folder: holds the state folder `state`, the leases, the working directory of trials and `daemon.log`.
        devices: what `--devices` says.
        mqtt: whether it has a broker, by itself its own.
        environment: more variables for it and for `tell`.
    """

    folder: Path
    devices: str
    mqtt: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    @property
    def log(self) -> Path:
        """What the daemon writes to its standard error."""
        return self.folder / "daemon.log"

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        assert self._process is not None, "the daemon was never started"
        return self._process.pid

    def spawn(self) -> None:
        """Start the daemon without waiting for it."""
        (self.folder / "leases").mkdir(parents=True, exist_ok=True)
        words = [CNNBO, "daemon", "--devices", self.devices, *(() if self.mqtt else ("--no-mqtt",))]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words, cwd=self.folder, env=self._environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start(self) -> None:
        """Start the daemon and wait until it listens.

        Raises:
            RuntimeError: it doesn't within half a minute.
        """
        (self.state / "control.sock").unlink(missing_ok=True)  # of a daemon that was killed
        self.spawn()
        deadline = time.monotonic() + _START_S
        while not (self.state / "control.sock").is_socket():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no daemon came up:\n{self.log.read_text()}")
            time.sleep(0.05)

    def tell(self, *arguments: str | Path) -> None:
        """Run `cnnbo …` for what it does.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        subprocess.run([CNNBO, *arguments], cwd=self.folder, env=self._environment(), capture_output=True, check=True)

    def finished(self) -> int:
        """Trials that have finished, those of deleted studies included; read from the journal, without the daemon."""
        uri = f"{(self.state / 'journal.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as journal:
            return int(journal.execute("SELECT coalesce(sum(finished), 0) FROM study").fetchone()[0])

    def children(self, module: str) -> list[int]:
        """Pids of the processes below the daemon that run a module of cnnbo's."""
        return [pid for pid in descendants(self.pid) if module in _command_line(pid)]

    def vitals(self) -> dict[str, Vitals]:
        """What the daemon, its proposer and its broker hold now, by role; one that isn't there is no key."""
        helpers = {role: self.children(module)[-1:] for role, module in _ROLES.items()}
        return {role: vitals(pid) for role, pids in {"daemon": [self.pid], **helpers}.items() for pid in pids}

    def kill(self) -> None:
        """SIGKILL the daemon and reap it."""
        assert self._process is not None, "the daemon was never started"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End the daemon in order, if it is there."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CNNBO_", "CUDA_", "XDG_"))}
        ours = {"CNNBO_STATE": self.state, "CNNBO_LEASE_DIR": self.folder / "leases", "CNNBO_CONFIG": os.devnull}
        return kept | {name: str(value) for name, value in ours.items()} | dict(self.environment)
