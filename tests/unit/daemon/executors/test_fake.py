"""The fake executor keeps the same law as the real one."""

import json
from pathlib import Path

import pytest
from tests.contracts.executor import ENDLESS, ExecutorContract, Running, make_launch

from cnnbo.daemon.executors.base import ExitEvidence, Launch, Progress
from cnnbo.daemon.executors.fake import FakeExecutor


class TestFakeExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self) -> FakeExecutor:
        return FakeExecutor()

    async def animate(self, executor: FakeExecutor, launch: Launch) -> None:
        await executor.started(launch.key)
        executor.report(launch.key, Progress(step=1))


async def test_finish_leaves_the_result_a_trial_would_leave(tmp_path: Path) -> None:
    """Tests of the daemon must meet the same files as in real life."""
    executor = FakeExecutor()
    running = Running(executor, make_launch(tmp_path, *ENDLESS))
    launch = await executor.started("study/1/1")
    executor.finish("study/1/1", result={"value": 0.9})
    assert await running.end() == ExitEvidence(exit_code=0)
    assert json.loads((launch.directory / "result.json").read_text()) == {"value": 0.9}


async def test_a_stubborn_attempt_waits_for_the_test(tmp_path: Path) -> None:
    """Otherwise nobody could test what the daemon does while a trial writes its checkpoint."""
    executor = FakeExecutor(obeys_stop=False)
    running = Running(executor, make_launch(tmp_path, *ENDLESS))
    await executor.started("study/1/1")
    executor.stop("study/1/1", 60)
    assert executor.stops == [("study/1/1", 60)]
    assert executor.running == ("study/1/1",)
    executor.finish("study/1/1", ExitEvidence(exit_code=0, stopped_by="request"))
    assert (await running.end()).exit_code == 0
