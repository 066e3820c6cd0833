"""Orders while no daemon is there: carried out in its place, and known to the next one."""

from pathlib import Path

import pytest
from tests.unit.daemon.test_shell import scene

from cnnbo.daemon.client import NoDaemonError, show
from cnnbo.daemon.journal import read_journal
from cnnbo.daemon.offline import order
from cnnbo.daemon.statelock import state_lock
from cnnbo.scheduler.errors import ConfigurationError, RequestError
from cnnbo.scheduler.study import Study


def study_in(state: Path) -> Study:
    [stored], _ = read_journal(state)
    return stored.study


@pytest.fixture
async def braked(tmp_path: Path) -> Path:
    """A state folder whose study equal crashes have paused, and whose daemon is gone."""
    async with scene(tmp_path) as at:
        await at.submit()
        for trial in (1, 2, 3):
            await at.end(trial, 1, None)
    return tmp_path


@pytest.fixture
async def interrupted(tmp_path: Path) -> Path:
    """A state folder whose daemon died while two trials ran."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        await at.executor.started("s/2/1")
    return tmp_path


def test_trials_are_withdrawn_in_the_journal(braked: Path) -> None:
    """The next daemon, or `cnnbo run`, has them run; until then nothing does."""
    answer, has_daemon = order(braked, "retry", study="s", crashed=True)
    assert (answer["retried"], answer["state"], has_daemon) == ([1, 2, 3], "running", False)
    study = study_in(braked)
    assert [trial.state for trial in study.trials] == ["pending"] * 3
    assert study.history().pending.tolist() == [[0.1], [0.2], [0.3]]


def test_what_makes_no_sense_is_refused_as_by_a_daemon(braked: Path) -> None:
    """One handler behind every door."""
    before = show(braked, "s")
    with pytest.raises(RequestError, match="study s has no trial 9; it has 3"):
        order(braked, "retry", study="s", trials=[9])
    with pytest.raises(RequestError, match="there is no study 'x' here"):
        order(braked, "retry", study="x", crashed=True)
    assert show(braked, "s") == before


def test_what_an_earlier_life_left_running_is_dealt_with_first(interrupted: Path) -> None:
    """As by any daemon that starts: an order must not find trials running that don't."""
    answer, _ = order(interrupted, "cancel", study="s")
    assert (answer["state"], answer["running"]) == ("cancelled", 0)
    outcomes = [attempt.outcome for trial in study_in(interrupted).trials for attempt in trial.attempts]
    assert outcomes == ["interrupted", "interrupted"]


def test_a_folder_without_a_journal_is_left_alone(tmp_path: Path) -> None:
    """A typing error in `--state` must not make a state folder."""
    with pytest.raises(NoDaemonError, match="no daemon answers"):
        order(tmp_path / "elsewhere", "retry", study="s", crashed=True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_somebody_works_in_is_left_to_them(braked: Path) -> None:
    """A daemon that is just starting holds the folder before it answers."""
    with state_lock(braked), pytest.raises(ConfigurationError, match="another daemon"):
        order(braked, "retry", study="s", crashed=True)
    assert study_in(braked).reason == "crashes"
