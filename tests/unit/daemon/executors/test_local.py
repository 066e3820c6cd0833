"""The local executor, with real runners and real commands."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.contracts.executor import ENDLESS, ExecutorContract, Running, make_launch
from tests.fuzz.mutations import DEEP, ODD_VALUES

from cnnbo.daemon import processes
from cnnbo.daemon.executors import local
from cnnbo.daemon.executors.base import ExitEvidence, Launch
from cnnbo.daemon.executors.local import LocalExecutor

# A command with a grandchild that has left the session, cleared its environment and is deaf to SIGTERM; reports the
# pids once it has.
FAMILY = """
env -i PATH="$PATH" RUNNER=$PPID PROGRESS=$CNNBO_PROGRESS_FD setsid sh -c '
    trap "" TERM
    echo "{\\"metrics\\": {\\"runner\\": $RUNNER, \\"command\\": $PPID, \\"grandchild\\": $$}}" >&$PROGRESS
    while :; do sleep 1000; done
' &
wait
"""


def has_ended(pidfd: int, within_s: float = 0.0) -> bool:
    """Whether a process has ended, reaped or not; waits for it if asked to."""
    return bool(select.select([pidfd], [], [], within_s)[0])


@contextmanager
def watching(pids: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Pidfds of processes by name; whatever the test finds, none of them outlives it."""
    pidfds = {name: os.pidfd_open(pid) for name, pid in pids.items()}
    try:
        yield pidfds
    finally:
        for pidfd in pidfds.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


async def start_family(executor: LocalExecutor, tmp_path: Path) -> tuple[Running, dict[str, int]]:
    """Run FAMILY; returns pids by name once all of it is there."""
    running = Running(executor, make_launch(tmp_path, "sh", "-c", FAMILY))
    report = await running.next_report()
    return running, {name: int(pid) for name, pid in report.metrics.items()}


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self) -> LocalExecutor:
        return LocalExecutor()


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    """The promise of the port: all dead before CancelledError leaves, whatever left the session."""
    running, pids = await start_family(LocalExecutor(), tmp_path)
    pidfds = [os.pidfd_open(pid) for pid in pids.values()]
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.end()
    assert all(has_ended(pidfd) for pidfd in pidfds)


async def test_a_second_cancellation_does_not_cut_the_killing_short(tmp_path: Path) -> None:
    """A second Ctrl-C comes while the first is being carried out."""
    running, pids = await start_family(LocalExecutor(), tmp_path)
    pidfds = [os.pidfd_open(pid) for pid in pids.values()]
    running.task.cancel()
    await asyncio.sleep(0)
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.end()
    assert all(has_ended(pidfd) for pidfd in pidfds)


async def test_a_runner_that_babbles_is_heard_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that isn't understood must neither end the attempt nor hide those that are."""
    fields = ["exit_code", "signal", "stopped_by", "message", "elapsed_s", "value"]
    babble = [{"progress": odd} for odd in ODD_VALUES] + [{"exit": [odd]} for odd in ODD_VALUES]
    babble += [{"progress": {"step": odd, "metrics": {"a": odd}, "odd": odd}} for odd in ODD_VALUES]
    babble += [{"exit": {name: [odd]}} for odd in ODD_VALUES for name in fields]
    words = [DEEP, b"", b"\xff", b"7", *(json.dumps(line).encode() for line in babble)]
    words += [b'{"progress": {"step": 4}}', b'{"exit": {"exit_code": 0}}', b""]
    (tmp_path / "words").write_bytes(b"\n".join(words))
    monkeypatch.setattr(local, "_RUNNER", ("cat", str(tmp_path / "words")))
    steps: list[int | None] = []
    evidence = await LocalExecutor().run(make_launch(tmp_path, "true"), lambda progress: steps.append(progress.step))
    assert (evidence, steps[-1]) == (ExitEvidence(exit_code=0), 4)


async def test_a_killed_runner_takes_everything_along(tmp_path: Path) -> None:
    """The command goes by its parent's death, its escaped grandchild by the attempt's mark: the device must be free."""
    running, pids = await start_family(LocalExecutor(), tmp_path)
    with watching(pids) as pidfds:
        os.kill(pids["runner"], signal.SIGKILL)
        evidence = await running.end()
        assert evidence.stopped_by == "runner"
        assert "-9" in evidence.message
        assert all(has_ended(pidfd) for pidfd in pidfds.values())


async def test_a_stop_before_the_runner_is_up_is_not_lost(tmp_path: Path) -> None:
    """Pausing a study in the very moment a trial starts must not leave it running for hours."""
    executor = LocalExecutor()
    running = Running(executor, make_launch(tmp_path, *ENDLESS))
    await asyncio.sleep(0)  # the task has begun, the runner has not
    executor.stop("study/1/1", 0)
    assert (await running.end()).stopped_by == "request"


async def test_an_impatient_second_stop_hastens_the_first(tmp_path: Path) -> None:
    """The second Ctrl-C means now."""
    executor = LocalExecutor()
    command = """trap "" TERM; echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; while :; do sleep 1000 & wait; done"""
    running = Running(executor, make_launch(tmp_path, "sh", "-c", command))
    await running.next_report()
    executor.stop("study/1/1", 3600)
    executor.stop("study/1/1", 0)
    evidence = await running.end()
    assert (evidence.stopped_by, evidence.signal) == ("request", signal.SIGKILL)


async def test_an_orderly_end_leaves_only_the_promised_files(tmp_path: Path) -> None:
    """People look into these folders; an empty runner.log would only raise questions."""
    running = Running(LocalExecutor(), make_launch(tmp_path, "sh", "-c", "echo hello"))
    assert (await running.end()).exit_code == 0
    assert sorted(path.name for path in running.launch.directory.iterdir()) == ["exit.json", "log"]
    assert (running.launch.directory / "log").read_text() == "hello\n"


async def test_what_the_machine_lacks_is_no_evidence_about_the_command(tmp_path: Path) -> None:
    """A folder that is gone, no process to be had: whoever asked must know that nothing was tried."""
    launch = make_launch(tmp_path, "true")
    launch.directory.rmdir()
    with pytest.raises(FileNotFoundError):
        await Running(LocalExecutor(), launch).end()


def test_sweep_kills_what_an_earlier_life_left(tmp_path: Path) -> None:
    """After a crash of the box's software, orphans are known by their token alone."""
    token = os.urandom(16).hex()
    orphan = subprocess.Popen(
        ["sh", "-c", 'trap "" TERM; echo up; while :; do sleep 1000; done'],
        env={"PATH": os.environ["PATH"], processes.TOKEN_VARIABLE: token},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with orphan:
        assert orphan.stdout is not None
        assert orphan.stdout.readline() == b"up\n"
        assert LocalExecutor().sweep([token]) >= 1
        assert orphan.wait(30) == -signal.SIGKILL
    assert LocalExecutor().sweep([token]) == 0


DAEMON = """
import asyncio, json, sys
from pathlib import Path
from cnnbo.daemon.executors.base import Launch
from cnnbo.daemon.executors.local import LocalExecutor
launch = Launch.from_dict(json.loads(sys.argv[1]))
asyncio.run(LocalExecutor().run(launch, lambda progress: print(json.dumps(dict(progress.metrics)), flush=True)))
"""


def test_a_killed_daemon_takes_everything_along(tmp_path: Path) -> None:
    """kill -9 of the daemon must free the devices at once, an escaped grandchild's too, and leave evidence."""
    launch = make_launch(tmp_path, "sh", "-c", FAMILY)
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, json.dumps(launch.to_dict())], stdout=subprocess.PIPE)
    with daemon:
        assert daemon.stdout is not None
        pids = json.loads(daemon.stdout.readline())
        pidfds = [os.pidfd_open(int(pid)) for pid in pids.values()]
        daemon.kill()
    assert all(has_ended(pidfd, within_s=30) for pidfd in pidfds)
    assert read_exit(launch).stopped_by == "lifeline"


def test_what_escaped_a_killed_daemon_and_runner_is_swept(tmp_path: Path) -> None:
    """The next daemon finds by its mark what no runner watches and no environment betrays."""
    launch = make_launch(tmp_path, "sh", "-c", FAMILY)
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, json.dumps(launch.to_dict())], stdout=subprocess.PIPE)
    with daemon:
        assert daemon.stdout is not None
        pids = {name: int(pid) for name, pid in json.loads(daemon.stdout.readline()).items()}
        with watching(pids) as pidfds:
            os.kill(pids["runner"], signal.SIGSTOP)  # else it would do its duty first
            daemon.kill()
            os.kill(pids["runner"], signal.SIGKILL)
            assert has_ended(pidfds["command"], within_s=30)
            assert not has_ended(pidfds["grandchild"])
            assert LocalExecutor().sweep([launch.token]) >= 1
            assert has_ended(pidfds["grandchild"], within_s=30)


def read_exit(launch: Launch) -> ExitEvidence:
    return ExitEvidence.from_dict(json.loads((launch.directory / "exit.json").read_text()))
