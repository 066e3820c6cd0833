"""What the commands say of trials at chance, from a journal as a daemon leaves it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.journals import journal_study
from typer.testing import CliRunner, Result

from cnnbo.cli.app import app
from cnnbo.scheduler.events import Event, TrialCompleted, TrialFailed, TrialStarted
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import ReportSettings, StudySpec
from cnnbo.scheduler.trial import Failure

Say = Callable[..., Result]


def spec(*values: float | None) -> StudySpec:
    start = tuple({"learning_rate": (k + 1) / 100} for k in range(len(values)))
    space = SearchSpace((FloatParameter("learning_rate", 0.0, 1.0),))
    return StudySpec(
        space,
        name="digits",
        command=("true",),
        evaluations=len(values),
        metric="val_accuracy",
        start=start,
        report=ReportSettings(chance=0.2),
    )


def course(*values: float | None) -> list[Event]:
    events: list[Event] = []
    for trial, value in enumerate(values, 1):
        events.append(TrialStarted(2.0 * trial, trial, 1, "cpu-0"))
        end = 2.0 * trial + 1.0
        failed = TrialFailed(end, trial, 1, Failure.DIVERGED, "The loss was nan.")
        events.append(failed if value is None else TrialCompleted(end, trial, 1, value))
    return events


@pytest.fixture
def mixed(tmp_path: Path) -> Say:
    """Runs a command on a study with a value, two trials at chance and a failure."""
    return _over(tmp_path, 0.11, 0.5, None, 0.19)


@pytest.fixture
def lucky(tmp_path: Path) -> Say:
    """Runs a command on a study of nothing but luck."""
    return _over(tmp_path, 0.11, None, 0.19)


def _over(state: Path, *values: float | None) -> Say:
    journal_study(state, spec(*values), *course(*values))

    def say(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [*arguments, "--state", str(state)], catch_exceptions=False)
        assert done.exit_code == code
        return done

    return say


def test_show_counts_them_apart_from_failures(mixed: Say) -> None:
    """Nothing went wrong with them; and the best few are those that learnt."""
    lines = mixed("show", "digits").stdout.splitlines()
    assert "4 of 4 finished, 0 running, 2 at chance, 1 failed (1 diverged)" in lines[0]
    assert lines[1] == "best   0.5  trial 2  (once measured)"
    assert "top    2 0.5" in lines
    assert not [line for line in lines if line.startswith("advice")]


def test_show_says_what_to_look_at_where_there_is_nothing_else(lucky: Say) -> None:
    """The study is finished, not failed; that it found nothing has to be said."""
    lines = lucky("show", "digits").stdout.splitlines()
    assert lines[0].startswith("digits   finished (evaluations)")
    assert lines[1] == "best   0.19  trial 3  (no better than chance)"
    [advice] = [line for line in lines if line.startswith("advice")]
    assert advice.startswith("advice no trial is better than chance: look first at the range of learning_rate")
    assert [line for line in lines if line.startswith("top    3 0.19")]


def test_show_of_a_trial_names_the_bound(mixed: Say) -> None:
    """What 0.11 means is not seen from the number."""
    shown = mixed("show", "digits", "1").stdout
    assert "digits #1   complete   val_accuracy 0.11, no better than chance (0.2)   from: start" in shown
    assert "chance" not in mixed("show", "digits", "2").stdout


def test_trials_says_at_chance_and_sorts_them_behind(mixed: Say) -> None:
    """The state of a failure is its class, and theirs is this."""
    rows = mixed("trials", "digits", "--sort", "value").stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["2*", "4", "1", "3"]
    assert [" at chance " in row for row in rows] == [False, True, True, False]


def test_trials_can_be_asked_for_either_kind(mixed: Say) -> None:
    """`--failed` is for what has no number."""
    for flag, ids in (("--failed", ["3"]), ("--at-chance", ["1", "4"])):
        rows = mixed("trials", "digits", flag).stdout.splitlines()[1:]
        assert [row.split()[0] for row in rows] == ids
    assert "no trial is both" in mixed("trials", "digits", "--failed", "--at-chance", code=2).stderr


def test_without_any_the_table_says_so(tmp_path: Path) -> None:
    """An empty table would look like a mistake."""
    assert _over(tmp_path, 0.5)("trials", "digits", "--at-chance").stdout == "No trial is at chance.\n"


def test_best_warns_beside_its_answer(lucky: Say) -> None:
    """A script that pastes the flags must get them alone."""
    said = lucky("best", "digits", "--format", "flags")
    assert said.stdout == "--learning_rate=0.03\n"
    assert said.stderr == (
        "no trial of digits is better than chance, so its best is as good as any; see cnnbo show digits\n"
    )


def test_best_is_silent_where_something_learnt(mixed: Say) -> None:
    """Luck in other trials is no reason to doubt this one."""
    assert mixed("best", "digits", "--format", "flags").stderr == ""


def test_status_has_a_column_where_there_is_something_to_count(mixed: Say) -> None:
    """Between what runs and what failed."""
    header, row = mixed("status").stdout.splitlines()[1:3]
    assert header.split("  ")[-1] == "owner" and "running  at chance  failed" in header
    assert row.split()[:6] == ["digits", "finished", "(evaluations)", "4/4", "0", "2"]


def test_status_has_no_such_column_else(tmp_path: Path) -> None:
    """Terminals are 80 columns wide."""
    assert "at chance" not in _over(tmp_path, 0.5)("status").stdout
