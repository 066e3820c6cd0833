"""Kill daemons and runners under load, and take the time until nothing is left and until work goes on.

`python benchmarks/crash.py --help`
"""

import csv
import os
import select
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

import typer
from living.daemon import RUNNER, Daemon

from cnnbo.daemon.processes import descendants

ROWS = Path(__file__).parent / "rows" / "crash" / "rounds.csv"
"""Where the raw rows are kept."""

SLOTS = 4

# Deaf to SIGTERM, with a grandchild that is, too, has left the session and cleared its environment; each waits in a
# child of its own.
_SCRIPT = """\
trap "" TERM
env -i setsid sh -c 'trap "" TERM; while :; do sleep 1000; done' &
while :; do sleep 1000; done
"""
_PROCESSES = 4

_STUDY = """\
name = "crash"
command = ["sh", "train.sh"]
evaluations = 10000
optimizer = "sobol"
metric = "value"
[report]
pattern = "value: ([0-9.]+)"
[space]
x = { type = "float", low = 0, high = 1 }
[trial]
python = "PYTHON"
"""

_PATIENCE_S = 60.0

app = typer.Typer(no_args_is_help=True, add_completion=False)


@dataclass(frozen=True, slots=True)
class Round:
    """What one SIGKILL led to.

    Attributes:
        killed: `daemon` or `runner`.
        processes: how many of the trials' processes lived, runners included.
        gone_s: from the kill until none of them lived.
        next_s: until the next trial's process ran: from the daemon's restart, or from the kill of the runner.
    """

    killed: str
    processes: int
    gone_s: float
    next_s: float


@app.callback()
def main() -> None:
    """Kill daemons and runners under load, and take the time."""


@app.command()
def run(rounds: Annotated[int, typer.Option(help="Kills of each kind.")] = 20) -> None:
    """Kill in turn the daemon and a runner; writes rows/crash/rounds.csv."""
    found: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        daemon = Daemon(Path(folder), f"cpu:{SLOTS}", mqtt=False)
        (daemon.folder / "train.sh").write_text(_SCRIPT)
        (daemon.folder / "study.toml").write_text(_STUDY.replace("PYTHON", sys.executable))
        daemon.start()
        try:
            daemon.tell("submit", "study.toml")
            for _ in range(rounds):
                for kill in (_kill_runner, _kill_daemon):
                    found.append(kill(daemon))
                    typer.echo(found[-1])
        finally:
            daemon.tell("pause", "crash", "--now")
            daemon.stop()
    _write(found)
    _report(found)


def _kill_daemon(daemon: Daemon) -> Round:
    _wait_for(lambda: len(_trials(daemon)) == SLOTS * (1 + _PROCESSES))
    victims = _trials(daemon)
    gone_s = _time_to_end(victims, daemon.kill)
    began = time.monotonic()
    daemon.spawn()
    _wait_for(lambda: len(_trials(daemon)) > len(daemon.children(RUNNER)) > 0)
    return Round("daemon", len(victims), gone_s, time.monotonic() - began)


def _kill_runner(daemon: Daemon) -> Round:
    _wait_for(lambda: len(_trials(daemon)) == SLOTS * (1 + _PROCESSES))
    before = set(_trials(daemon))
    runner = daemon.children(RUNNER)[0]
    victims = [runner, *descendants(runner)]
    began = time.monotonic()
    gone_s = _time_to_end(victims, lambda: os.kill(runner, signal.SIGKILL))
    _wait_for(lambda: any(set(descendants(pid)) - before for pid in daemon.children(RUNNER)))
    return Round("runner", len(victims), gone_s, time.monotonic() - began)


def _trials(daemon: Daemon) -> list[int]:
    """Pids of every runner and of all that is below it."""
    return [pid for runner in daemon.children(RUNNER) for pid in (runner, *descendants(runner))]


def _wait_for(condition: Callable[[], bool]) -> None:
    """Look again and again, as often as the times that are taken want it.

    Raises:
        TimeoutError: it doesn't come true.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for never happened")
        time.sleep(0.005)


def _time_to_end(pids: Iterable[int], kill: Callable[[], None]) -> float:
    """Seconds from before `kill` until all of the processes have ended.

    Raises:
        TimeoutError: one of them doesn't.
    """
    waiting = set()
    for pid in pids:
        with suppress(ProcessLookupError):
            waiting.add(os.pidfd_open(pid))
    began = time.monotonic()
    kill()
    while waiting:
        ended, _, _ = select.select(waiting, (), (), _PATIENCE_S)
        if not ended:
            raise TimeoutError(f"{len(waiting)} processes live on")
        for pidfd in ended:
            waiting.discard(pidfd)
            os.close(pidfd)
    return time.monotonic() - began


def _write(rounds: Iterable[Round]) -> None:
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Round)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(found) for found in rounds)


def _report(rounds: Iterable[Round]) -> None:
    for killed in ("daemon", "runner"):
        for name in ("gone_s", "next_s"):
            times = [getattr(found, name) for found in rounds if found.killed == killed]
            typer.echo(f"{killed} {name}: median {statistics.median(times):.3f} s, at most {max(times):.3f} s")


if __name__ == "__main__":
    app()
