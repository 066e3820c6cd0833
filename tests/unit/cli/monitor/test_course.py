"""What is remembered of a running trial."""

from dataclasses import replace
from typing import Any

import pytest

from cnnbo.cli.monitor.course import MOST_POINTS, Course, Pace
from cnnbo.cli.monitor.objects import Progress

START = Progress(step=0, steps=1000, epoch=None, epochs=None, metrics={"loss": 1.0, "acc": 0.0}, told=100.0)


def _course(*reports: Progress, metric: str | None = "acc") -> Course:
    course = Course(reports[0])
    for report in reports:
        course.take(report, metric)
    return course


def _at(second: float, **fields: Any) -> Progress:
    told: dict[str, Any] = {"told": START.told + second, "step": int(second), "metrics": {"loss": 1.0, "acc": second}}
    return replace(START, **(told | fields))


def test_a_trial_of_a_day_takes_no_more_memory_than_one_of_a_minute() -> None:
    """The monitor is kept open all day; the picture of the whole course stays."""
    course = _course(*(_at(second) for second in range(10_000)))
    assert MOST_POINTS / 2 <= len(course.values) <= MOST_POINTS
    assert course.values[0] == 0.0 and course.values[-1] > 9_000
    gaps = {after - before for before, after in zip(course.values, course.values[1:], strict=False)}
    assert len(gaps) == 1  # evenly thinned out


def test_the_pace_is_that_of_late() -> None:
    """A training that slows down must be seen to."""
    fast = [_at(second, step=100 * second) for second in range(20)]
    slow = [_at(20 + second, step=2000 + second, steps=None) for second in range(20)]
    assert _course(*fast).pace == Pace(100.0, "step")
    assert _course(*fast, *slow).pace == Pace(1.0, "step")


def test_epochs_give_the_pace_where_no_steps_are_told() -> None:
    """Many scripts count epochs only."""
    reports = [_at(30.0 * k, step=None, steps=None, epoch=k, epochs=10) for k in range(3)]
    assert _course(*reports).pace == Pace(1 / 30, "epoch")


def test_the_time_left_doesnt_count_the_start() -> None:
    """A minute of compiling is no part of the pace of training."""
    course = _course(_at(60.0, step=10), _at(70.0, step=110))
    assert course.left_s(started=START.told, now=START.told + 70) == pytest.approx(89.0)
    assert course.left_s(started=START.told, now=START.told + 80) == pytest.approx(79.0)


def test_with_one_report_the_time_left_is_judged_by_the_whole_attempt() -> None:
    """Whoever opens the monitor in the middle of a trial wants to know at once."""
    course = _course(_at(50.0, step=500))
    assert course.left_s(started=START.told, now=START.told + 50) == pytest.approx(50.0)
    assert course.left_s(started=None, now=START.told + 50) is None


def test_a_training_that_begins_anew_is_drawn_anew() -> None:
    """After a restart from a checkpoint the old end of the line would be a lie."""
    course = _course(_at(0.0, step=400), _at(1.0, step=500), _at(2.0, step=100))
    assert course.values == [2.0]
    assert course.pace is None


def test_one_line_shows_one_metric() -> None:
    """The name of the study's metric may become known only after the first report."""
    course = _course(_at(1.0), _at(2.0), metric=None)
    course.take(_at(3.0), "acc")
    assert course.values == [3.0]
