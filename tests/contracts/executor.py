"""The law of executors: every implementation, the fake too, subclasses `ExecutorContract`."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from cnnbo.daemon.executors.base import Executor, ExitEvidence, Launch, Progress

# Tells that it runs, then waits for ever; replaced by `sleep`, so that a SIGTERM ends it at once.
ENDLESS = ("sh", "-c", """echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; exec sleep 1000""")


def make_launch(directory: Path, *command: str, key: str = "study/1/1", **changes: Any) -> Launch:
    """A launch of `command` in a new folder, with nothing in its environment but PATH and CNNBO_RESULT."""
    folder = directory / key
    folder.mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "CNNBO_RESULT": str(folder / "result.json")}
    plain: dict[str, Any] = {"environment": environment, "cwd": str(directory), "token": f"{os.urandom(16).hex()}"}
    return Launch(key=key, command=command, directory=folder, **{**plain, **changes})


class Running:
    """An attempt under way in a task of its own."""

    def __init__(self, executor: Executor, launch: Launch) -> None:
        self.launch = launch
        self._reports: asyncio.Queue[Progress] = asyncio.Queue()
        self.task = asyncio.create_task(executor.run(launch, self._reports.put_nowait))

    async def next_report(self) -> Progress:
        return await asyncio.wait_for(self._reports.get(), 30)

    async def end(self) -> ExitEvidence:
        return await asyncio.wait_for(self.task, 30)


class ExecutorContract:
    """Subclass it and supply the fixture `executor`; for a fake, `animate` says what a real command says itself."""

    async def animate(self, executor: Any, launch: Launch) -> None:
        """Make an attempt with the command ENDLESS report step 1."""

    async def begin(self, executor: Executor, tmp_path: Path, key: str = "study/1/1") -> Running:
        running = Running(executor, make_launch(tmp_path, *ENDLESS, key=key))
        await self.animate(executor, running.launch)
        return running

    async def test_progress_reaches_the_caller_while_the_attempt_runs(self, executor: Executor, tmp_path: Path) -> None:
        """Screens show how far a trial is before it ends."""
        running = await self.begin(executor, tmp_path)
        assert (await running.next_report()).step == 1
        assert not running.task.done()
        executor.stop("study/1/1", 0)
        await running.end()

    async def test_a_stop_ends_the_attempt_by_request(self, executor: Executor, tmp_path: Path) -> None:
        """Whoever judges the end must be able to tell our stop from a crash."""
        running = await self.begin(executor, tmp_path)
        await running.next_report()
        executor.stop("study/1/1", 30)
        assert (await running.end()).stopped_by == "request"

    async def test_a_stop_touches_no_other_attempt(self, executor: Executor, tmp_path: Path) -> None:
        """Trials on other devices go on."""
        first, second = [await self.begin(executor, tmp_path, key=f"study/{n}/1") for n in (1, 2)]
        await first.next_report()
        await second.next_report()
        executor.stop("study/1/1", 0)
        await first.end()
        assert not second.task.done()
        executor.stop("study/2/1", 0)
        assert (await second.end()).stopped_by == "request"

    async def test_an_unknown_key_is_ignored(self, executor: Executor, tmp_path: Path) -> None:
        """A stop may cross the end of its attempt on the way."""
        running = await self.begin(executor, tmp_path)
        await running.next_report()
        executor.stop("study/99/1", 0)
        executor.stop("study/1/1", 0)
        await running.end()
        executor.stop("study/1/1", 0)

    async def test_cancelling_ends_the_attempt(self, executor: Executor, tmp_path: Path) -> None:
        """The daemon's task group is cancelled as a whole; the same attempt can be run again afterwards."""
        running = await self.begin(executor, tmp_path)
        await running.next_report()
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.end()
        again = Running(executor, running.launch)
        await self.animate(executor, again.launch)
        await again.next_report()
        executor.stop("study/1/1", 0)
        await again.end()

    async def test_one_key_runs_once_at_a_time(self, executor: Executor, tmp_path: Path) -> None:
        """Two processes writing into one folder would mix their results."""
        running = await self.begin(executor, tmp_path)
        await running.next_report()
        with pytest.raises(ValueError, match="running already"):
            await executor.run(running.launch, lambda progress: None)
        executor.stop("study/1/1", 0)
        assert (await running.end()).stopped_by == "request"

    async def test_a_token_nobody_carries_sweeps_nothing(self, executor: Executor) -> None:
        """After an orderly end there is nothing left to kill."""
        assert executor.sweep([os.urandom(16).hex()]) == 0
        assert executor.sweep([]) == 0
