"""How the commands count equal crashes that nobody has decided about, from a journal as a daemon leaves it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.journals import journal_study
from typer.testing import CliRunner

from cnnbo.cli.app import app
from cnnbo.scheduler.events import Event, StudyResumed, TrialCompleted, TrialFailed, TrialStarted
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import ReportSettings, StudySpec
from cnnbo.scheduler.trial import Failure

SPEC = StudySpec(
    SearchSpace((FloatParameter("learning_rate", 0.0, 1.0),)),
    name="digits",
    command=("true",),
    evaluations=8,
    metric="val_accuracy",
    start=tuple({"learning_rate": (k + 1) / 100} for k in range(7)),
    report=ReportSettings(chance=0.2),
)
# With a value, at chance, failed by its configuration, crashed by itself, then three equal crashes.
ENDS: tuple[float | str, ...] = (
    0.5,
    0.11,
    "The loss was nan.",
    "OSError",
    "KeyError: 'a'",
    "KeyError: 'b'",
    "KeyError: 'c'",
)

Say = Callable[..., list[str]]


def course() -> list[Event]:
    events: list[Event] = []
    for trial, end in enumerate(ENDS, 1):
        events.append(TrialStarted(2.0 * trial, trial, 1, "cpu-0"))
        at = 2.0 * trial + 1.0
        if isinstance(end, float):
            events.append(TrialCompleted(at, trial, 1, end))
            continue
        failure = Failure.DIVERGED if trial == 3 else Failure.CRASHED
        kind = end.partition(":")[0] if failure is Failure.CRASHED else None
        events.append(TrialFailed(at, trial, 1, failure, end, kind=kind))
    return events


@pytest.fixture
def paused(tmp_path: Path) -> Say:
    """Runs a command on a study with every kind of end, which equal crashes have paused."""
    return _over(tmp_path)


@pytest.fixture
def resumed(tmp_path: Path) -> Say:
    """Runs a command on that study after its user had it go on without what crashed."""
    return _over(tmp_path, StudyResumed(99.0))


def _over(state: Path, *more: Event) -> Say:
    journal_study(state, SPEC, *course(), *more)

    def say(*arguments: str) -> list[str]:
        done = CliRunner().invoke(app, [*arguments, "--state", str(state)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout.splitlines()

    return say


def test_show_counts_every_kind_of_end_once(paused: Say) -> None:
    """They add up to what has finished, and what was held against no configuration is no failure."""
    head, held = paused("show", "digits")[:2]
    assert head.startswith("digits   paused (crashes)   7 of 8 finished, 0 running, ")
    assert "running, 1 at chance, 2 failed (1 diverged, 1 crashed), 3 undecided   owner" in head
    assert held.startswith("held   trials 5, 6, 7: equal crashes")


def test_status_has_a_column_where_there_is_something_to_count(paused: Say) -> None:
    """Behind what failed, and without it."""
    header, row = paused("status")[1:3]
    assert "running  at chance  failed  undecided  best" in header
    assert row.split()[:7] == ["digits", "paused", "(crashes)", "7/8", "0", "1", "2"]
    assert row.split()[7] == "3"


def test_a_trial_says_that_its_crash_is_held_against_the_script(paused: Say) -> None:
    """One that crashed in another way is as bad as it was."""
    assert any("held against the script" in line for line in paused("show", "digits", "5"))
    assert not any("held against the script" in line for line in paused("show", "digits", "4"))


def test_what_the_user_went_on_without_has_failed(resumed: Say) -> None:
    """It is decided: screens that told it as open would have people look for something to do."""
    assert "1 at chance, 5 failed (1 diverged, 4 crashed)   owner" in resumed("show", "digits")[0]
    assert "undecided" not in " ".join([*resumed("status"), *resumed("show", "digits")])
