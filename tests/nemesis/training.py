"""What trials of a round run: `python -S training.py MARKER WITNESS --x=…`, some of them badly behaved.

Each keeps evidence of its own in the folder WITNESS, which cnnbo knows nothing of: a lock per device, held as long as
any process of the trial lives, and a `.double` file for whoever finds it taken.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 0.3
_CHATTER = "so far so good " * 64


class Trial:
    """What a trial was told, and its ways to tell what came out."""

    def __init__(self, marker: str, witness: Path, x: float) -> None:
        told = json.loads(Path(os.environ["CNNBO_TRIAL"]).read_text())
        self.marker = marker
        self.study: str = told["study"]
        self.id: int = told["trial"]
        self.attempt: int = told["attempt"]
        # Another attempt, another value: a value told for the wrong attempt must not pass for right.
        self.value = 1 - (x - 0.3) ** 2 + self.attempt / 1000
        self.lock = self._lock(witness, os.environ["CUDA_VISIBLE_DEVICES"])

    def _lock(self, witness: Path, device: str) -> int:
        lock = os.open(witness / f"{device}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 100, 0).decode()
            (witness / f"{self.study}-{self.id}-{self.attempt}.double").write_text(f"{device} was held by {holder}")
        os.truncate(lock, 0)
        os.pwrite(lock, f"{self.study}/{self.id}/{self.attempt}".encode(), 0)
        return lock

    def report(self, **result: object) -> None:
        """Report as the contract asks: whole or not at all. A pattern in the study's file reads the line."""
        print(f"\nval: {result.get('value', 'none')!r}", flush=True)
        if os.environ["NEMESIS_REPORTS"] == "pattern":
            return
        path = Path(os.environ["CNNBO_RESULT"])
        temporary = path.with_suffix(".tmp")
        with temporary.open("w") as file:
            json.dump(result, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def leave_half_a_result(self, text: str) -> None:
        """Write a result as one must not."""
        Path(os.environ["CNNBO_RESULT"]).write_text(text)


def _well(trial: Trial) -> None:
    time.sleep(SECONDS)
    trial.report(value=trial.value, metrics={"attempt": trial.attempt})


def _slow(trial: Trial) -> None:
    time.sleep(2 * SECONDS)
    _well(trial)


def _crash(trial: Trial) -> None:
    time.sleep(SECONDS / 2)
    raise SystemExit(f"trial {trial.id} fell over")


def _diverge(trial: Trial) -> None:
    time.sleep(SECONDS)
    if os.environ["NEMESIS_REPORTS"] == "pattern":
        trial.report(value=float("nan"))
    else:
        trial.report(failure="diverged", message="the loss went away")


def _deaf(trial: Trial) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _well(trial)


def _forking(trial: Trial) -> None:
    """Leave a process behind that nothing but its descent ties to the trial: no environment, a session of its own."""
    # The marker in its arguments is for the round's own search; cnnbo can't know it.
    command = (sys.executable, "-S", "-c", "import time; time.sleep(120)", trial.marker)
    subprocess.Popen(command, env={}, start_new_session=True, cwd="/", pass_fds=(trial.lock,))
    _well(trial)


def _chatty(trial: Trial) -> None:
    for _ in range(1000):
        print(_CHATTER)
    _well(trial)


def _torn(trial: Trial) -> None:
    time.sleep(SECONDS)
    trial.leave_half_a_result(json.dumps({"value": trial.value, "metrics": {"attempt": trial.attempt}})[:-20])
    os.kill(os.getpid(), signal.SIGKILL)


def _garbage(trial: Trial) -> None:
    time.sleep(SECONDS)
    trial.leave_half_a_result(f"\0\0{trial.value}")


BEHAVIOURS: dict[str, Callable[[Trial], None]] = {
    "well": _well,
    "slow": _slow,
    "crash": _crash,
    "diverge": _diverge,
    "deaf": _deaf,
    "forking": _forking,
    "chatty": _chatty,
    "torn": _torn,
    "garbage": _garbage,
}


def main() -> None:
    """Behave as the environment says for this trial's number."""
    marker, witness, x = sys.argv[1:]
    trial = Trial(marker, Path(witness), float(x.removeprefix("--x=")))
    behaviours = os.environ["NEMESIS_BEHAVIOURS"].split()
    BEHAVIOURS[behaviours[(trial.id - 1) % len(behaviours)]](trial)


if __name__ == "__main__":
    main()
