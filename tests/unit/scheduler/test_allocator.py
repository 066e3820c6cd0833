"""Who gets the free device."""

from cnnbo.scheduler.allocator import RequestTrials, StartTrial, allocate
from cnnbo.scheduler.events import (
    BudgetReached,
    Event,
    PointsSuggested,
    StudyPaused,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.sharing import Hours
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0),))


def study(name: str, *events: Event, at: float = 1.0, starts: int = 0, cap: int | None = None) -> Study:
    start = tuple({"x": (k + 1) / 10} for k in range(starts))
    made = Study(StudySpec(SPACE, name=name, evaluations=9, start=start, max_devices=cap), at=at)
    for event in events:
        made.check(event)
        made.handle(event)
    return made


def test_idle_devices_without_points_become_one_request() -> None:
    """One ask for all free devices costs less than one each, and its points know of each other."""
    assert allocate(["a", "b"], [study("s")]) == [RequestTrials("s", 2)]


def test_waiting_trials_start_before_anything_is_asked_for() -> None:
    """Start configurations and retries go first."""
    assert allocate(["a", "b"], [study("s", starts=1)]) == [StartTrial("s", 1, "a"), RequestTrials("s", 1)]


def test_a_point_on_its_way_keeps_its_device() -> None:
    """Calling again before the proposer answers must ask for nothing twice."""
    asking = study("s", TrialsRequested(1.0, 2))
    assert allocate(["a", "b"], [asking]) == []


def test_the_study_with_the_fewest_trials_in_flight_goes_first() -> None:
    """Two studies share the box evenly, whichever was there first."""
    busy = study("busy", TrialStarted(1.0, 1, 1, "z"), starts=3)
    quiet = study("quiet", starts=3, at=2.0)
    assert allocate(["a", "b"], [busy, quiet]) == [StartTrial("quiet", 1, "a"), StartTrial("busy", 2, "b")]


def test_among_equals_the_oldest_goes_first() -> None:
    """The order must not depend on names or dictionaries."""
    assert allocate(["a"], [study("b", starts=1, at=2.0), study("a", starts=1, at=3.0)]) == [StartTrial("b", 1, "a")]


def test_a_retry_after_a_lost_device_waits_for_another_one() -> None:
    """The device may be the culprit."""
    lost = study("s", TrialStarted(1.0, 1, 1, "a"), TrialFailed(2.0, 1, 1, Failure.DEVICE_LOST), starts=1, cap=1)
    assert StartTrial("s", 1, "a") not in allocate(["a"], [lost])
    assert allocate(["b"], [lost]) == [StartTrial("s", 1, "b")]


def test_a_cap_on_devices_is_kept() -> None:
    """A colleague asked for the other devices."""
    capped = study("s", TrialStarted(1.0, 1, 1, "z"), starts=3, cap=2)
    assert allocate(["a", "b"], [capped]) == [StartTrial("s", 2, "a")]


def test_paused_and_spent_studies_get_nothing() -> None:
    """Waiting trials of a paused study, or of one without budget, must stay where they are."""
    paused = study("p", StudyPaused(1.0), starts=2)
    spent = study("q", TrialStarted(1.0, 1, 1, "z"), BudgetReached(1.0, "cost"), starts=2)
    assert allocate(["a", "b"], [paused, spent]) == []


def test_surplus_devices_stay_idle() -> None:
    """No trial is made up to keep a device busy."""
    almost = study("s", TrialsRequested(1.0, 9))
    almost.handle(PointsSuggested(1.0, 0, tuple((k / 10,) for k in range(9)), Source.SOBOL))
    assert len(allocate([str(k) for k in range(12)], [almost])) == 9


def test_a_device_that_somebody_returned_may_run_what_was_lost_there() -> None:
    """On a box with one device the trial would wait for another one for ever."""
    lost = study("s", TrialStarted(1.0, 1, 1, "a"), TrialFailed(2.0, 1, 1, Failure.DEVICE_LOST), starts=1, cap=1)
    assert StartTrial("s", 1, "a") not in allocate(["a"], [lost], returned={"a": 1.5})
    assert allocate(["a"], [lost], returned={"a": 2.5}) == [StartTrial("s", 1, "a")]


def test_a_study_starts_trials_within_its_own_hours_only() -> None:
    """One student works by night, the other one all day."""
    nights = Study(StudySpec(SPACE, name="n", hours=Hours.parse("20:00-08:00"), start=({"x": 0.1},)), at=1.0)
    allday = study("d", starts=1, at=2.0)
    assert allocate(["a"], [nights, allday], minute=12 * 60) == [StartTrial("d", 1, "a")]
    assert allocate(["a"], [nights, allday], minute=23 * 60) == [StartTrial("n", 1, "a")]
