"""How often the test set was opened is journalled, whatever became of the attempt that did."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.test_shell import SPEC, Scene, scene, write_result

from cnnbo.daemon.executors.base import ExitEvidence
from cnnbo.daemon.journal import read_journal
from cnnbo.models import report
from cnnbo.scheduler.events import TrialsRetried

ONE = replace(SPEC, evaluations=1)


async def open_test_set(at: Scene, attempt: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the training code of an attempt at trial 1 does before it opens the test set."""
    launch = await at.executor.started(f"s/1/{attempt}")
    monkeypatch.setenv("CNNBO_RESULT", str(launch.directory / "result.json"))
    report.test_set_opened()


def journalled(state: Path) -> tuple[int, list[bool]]:
    """The count, and which attempts at trial 1 it is made of, as a restart would find them."""
    [stored], _ = read_journal(state)
    return stored.study.test_set_openings, [a.opened_test_set for a in stored.study.trial(1).attempts]


@pytest.mark.parametrize(
    ("evidence", "result", "state"),
    [
        (ExitEvidence(exit_code=0), {"value": 0.5}, "finished"),
        (ExitEvidence(exit_code=0), {"failure": "out_of_memory", "message": "too wide"}, "failed"),
        (ExitEvidence(exit_code=1), None, "failed"),
        (ExitEvidence(signal=9, stopped_by="timeout"), None, "failed"),
    ],
)
async def test_every_end_of_an_attempt_tells(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evidence: ExitEvidence,
    result: dict[str, object] | None,
    state: str,
) -> None:
    """Who has seen the test set has, with a value or without."""
    async with scene(tmp_path) as at:
        await at.submit(ONE)
        await open_test_set(at, 1, monkeypatch)
        at.executor.finish("s/1/1", evidence, result)
        await at.ears.until(lambda: at.study.state.is_ended)
        told: dict[str, Any] = {message.topic: message.body for message in at.ears.heard}
    assert (at.study.state, told["study/s"]["test_set_openings"]) == (state, 1)
    assert journalled(tmp_path) == (1, [True])


async def test_attempts_are_counted_and_not_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, run again, withdrawn by the user and run once more: three looks. One that did not look is none."""
    async with scene(tmp_path) as at:
        await at.submit(ONE)
        await open_test_set(at, 1, monkeypatch)
        at.executor.finish("s/1/1", ExitEvidence(signal=9, stopped_by="lifeline"))
        await open_test_set(at, 2, monkeypatch)
        await at.end(1, 2, 0.5)
        await at.shell.submit("s", TrialsRetried(9.0, (1,)))
        await at.end(1, 3, 0.5)
        await at.shell.submit("s", TrialsRetried(9.0, (1,)))
        await open_test_set(at, 4, monkeypatch)
        await at.end(1, 4, 0.5)
        await at.ears.until(lambda: at.study.state.is_ended)
    assert journalled(tmp_path) == (3, [True, True, False, True])


@pytest.mark.parametrize("leaves_a_result", [True, False])
async def test_the_daemons_death_hides_no_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_a_result: bool
) -> None:
    """The next daemon finds what the attempt noted, harvested or interrupted."""
    async with scene(tmp_path) as at:
        await at.submit(ONE)
        await open_test_set(at, 1, monkeypatch)
        if leaves_a_result:
            write_result((await at.executor.started("s/1/1")).directory, 0.5)
    async with scene(tmp_path) as at:
        await at.ears.until(lambda: any(study.trial(1).attempts[0].outcome for study in at.shell.studies))
    assert at.study.trial(1).attempts[0].outcome == ("complete" if leaves_a_result else "interrupted")
    count, attempts = journalled(tmp_path)
    assert (count, attempts[0]) == (1, True)
