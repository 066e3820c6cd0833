"""Who gets the free device."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cnnbo.scheduler.allocator import RequestTrials, StartTrial, allocate
from cnnbo.scheduler.comparison import search_spec
from cnnbo.scheduler.events import (
    BudgetReached,
    Event,
    PointsSuggested,
    StudyAmended,
    StudyPaused,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.sharing import Hours
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Plan, StudySpec
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
    assert StartTrial("s", 1, "a") not in allocate(["a"], [lost], returned={"a": 0.5})
    assert allocate(["a"], [lost], returned={"a": 1.5}) == [StartTrial("s", 1, "a")]


def test_a_study_starts_trials_within_its_own_hours_only() -> None:
    """One student works by night, the other one all day."""
    nights = Study(StudySpec(SPACE, name="n", hours=Hours.parse("20:00-08:00"), start=({"x": 0.1},)), at=1.0)
    allday = study("d", starts=1, at=2.0)
    assert allocate(["a"], [nights, allday], minute=12 * 60) == [StartTrial("d", 1, "a")]
    assert allocate(["a"], [nights, allday], minute=23 * 60) == [StartTrial("n", 1, "a")]


def test_evaluations_lowered_below_what_waits_are_kept() -> None:
    """Each of them costs hours of a device; with one to finish only one more starts."""
    spec = StudySpec(SPACE, name="s", evaluations=9, start=tuple({"x": k / 10} for k in range(5)))
    lowered = Study(spec, at=1.0)
    for event in (TrialStarted(1.0, 1, 1, "z"), TrialCompleted(2.0, 1, 1, 0.5)):
        lowered.handle(event)
    lowered.handle(StudyAmended(3.0, replace(spec, evaluations=2)))
    assert allocate(["a", "b"], [lowered]) == [StartTrial("s", 2, "a")]


@st.composite
def boxes(draw: st.DrawFn) -> tuple[list[str], list[Study]]:
    """Idle devices, and studies with trials that wait, run, lost a device, or are asked for."""
    studies = []
    for number in range(draw(st.integers(1, 3))):
        starts, cap = draw(st.integers(0, 5)), draw(st.none() | st.integers(1, 3))
        made = study(f"s{number}", at=draw(st.sampled_from([1.0, 2.0])), starts=starts, cap=cap)
        for trial in range(1, starts + 1):
            match draw(st.sampled_from(["waits", "waits", "runs", "lost", "complete"])):
                case "runs":
                    made.handle(TrialStarted(1.0, trial, 1, f"busy-{number}-{trial}"))
                case "lost":
                    made.handle(TrialStarted(1.0, trial, 1, draw(st.sampled_from("abc"))))
                    made.handle(TrialFailed(2.0, trial, 1, Failure.DEVICE_LOST))
                case "complete":
                    made.handle(TrialStarted(1.0, trial, 1, "z"))
                    made.handle(TrialCompleted(2.0, trial, 1, 0.5))
        if made.requestable and draw(st.booleans()):
            made.handle(TrialsRequested(3.0, draw(st.integers(1, made.requestable))))
        if draw(st.sampled_from([False] * 4 + [True])):
            made.handle(StudyPaused(4.0))
        studies.append(made)
    return draw(st.lists(st.sampled_from("abcd"), unique=True)), studies


@given(boxes())
def test_devices_are_shared_by_the_rules(box: tuple[list[str], list[Study]]) -> None:
    """No device twice, none beyond a cap, none that a trial was lost on, nothing for who is paused, nobody starves."""
    idle, studies = box
    by_name = {study.name: study for study in studies}
    allocations = allocate(idle, studies)
    starts = [each for each in allocations if isinstance(each, StartTrial)]
    requests = {each.study: each.count for each in allocations if isinstance(each, RequestTrials)}
    assert len({start.device for start in starts}) == len(starts) and {start.device for start in starts} <= set(idle)
    assert len({(start.study, start.trial) for start in starts}) == len(starts)
    for start in starts:
        trial = by_name[start.study].trial(start.trial)
        assert trial in by_name[start.study].ready
        assert not (trial.attempts and trial.attempts[-1].device == start.device)
    taken = {study.name: sum(start.study == study.name for start in starts) for study in studies}
    kept = len(idle) - len(starts) - sum(requests.values())
    assert 0 <= kept <= len(idle)
    for study in studies:
        asked = requests.get(study.name, 0)
        in_flight = len(study.running) + taken[study.name] + asked
        assert asked <= study.requestable
        if taken[study.name] or asked:
            assert study.state == "running"
            assert study.spec.max_devices is None or in_flight <= study.spec.max_devices
    expected = sum(sum(study.outstanding_asks.values()) for study in studies if study.state == "running")
    if kept > expected:  # a device is left over: then nobody can want one
        for study in studies:
            in_flight = len(study.running) + taken[study.name] + requests.get(study.name, 0)
            is_full = study.spec.max_devices is not None and in_flight >= study.spec.max_devices
            assert study.state != "running" or is_full or study.requestable == requests.get(study.name, 0)


@given(boxes())
def test_sharing_out_again_starts_and_asks_for_nothing_twice(box: tuple[list[str], list[Study]]) -> None:
    """Devices are read every two seconds, and a proposal may take longer than that."""
    idle, studies = box
    by_name = {study.name: study for study in studies}
    left = list(idle)
    for each in allocate(idle, studies):
        if isinstance(each, StartTrial):
            attempt = len(by_name[each.study].trial(each.trial).attempts) + 1
            event: Event = TrialStarted(5.0, each.trial, attempt, each.device)
            left.remove(each.device)
        else:
            event = TrialsRequested(5.0, each.count)
        by_name[each.study].check(event)
        by_name[each.study].handle(event)
    assert allocate(left, studies) == []


@given(st.integers(1, 12), st.integers(0, 6), st.integers(0, 6))
def test_devices_go_where_the_fewest_run(idle: int, first: int, second: int) -> None:
    """Whoever has plenty to run must not starve the other."""
    studies = [
        study(f"s{k}", *(TrialStarted(1.0, t + 1, 1, f"{k}-{t}") for t in range(n)), at=k, starts=n)
        for k, n in ((1, first), (2, second))
    ]
    allocations = allocate([str(k) for k in range(idle)], studies)
    asked = {each.study: each.count for each in allocations if isinstance(each, RequestTrials)}
    assert sum(asked.values()) == min(idle, sum(study.requestable for study in studies))
    in_flight = [first + asked.get("s1", 0), second + asked.get("s2", 0)]
    gets_nothing = [name not in asked for name in ("s1", "s2")]
    assert abs(in_flight[0] - in_flight[1]) <= 1 or any(gets_nothing) or max(in_flight) == 9


def part(number: int, *events: Event, evaluations: int = 8, method: str = "random") -> Study:
    plan = Plan("c", ("bo", "random"), runs=9, evaluations=evaluations)
    spec = StudySpec(SPACE, evaluations=evaluations, start=tuple({"x": (k + 1) / 10} for k in range(8)))
    made = Study(replace(search_spec(spec, plan, method, method, number), start=spec.start), at=float(number))
    for event in events:
        made.check(event)
        made.handle(event)
    return made


def begun(count: int) -> list[Event]:
    ends = ((TrialStarted(1.0, k, 1, "z"), TrialCompleted(2.0, k, 1, 0.5)) for k in range(1, count + 1))
    return [event for pair in ends for event in pair]


def test_the_parts_of_a_comparison_go_forward_side_by_side() -> None:
    """None of its methods gets the quiet night; the oldest first would do one run after the other."""
    ahead, behind = part(1, *begun(2)), part(2, *begun(1))
    assert allocate(["a"], [ahead, behind]) == [StartTrial(behind.name, 2, "a")]


def test_a_part_with_twice_the_trials_goes_forward_twice_as_fast() -> None:
    """Its second half would be alone on the box otherwise."""
    short, long = part(1, *begun(2)), part(2, *begun(3), evaluations=16)
    assert allocate(["a"], [short, long]) == [StartTrial(long.name, 4, "a")]


def test_a_comparison_counts_as_one_study() -> None:
    """Ten runs of somebody's comparison must not leave a tenth of the box to everybody else."""
    parts = [part(number) for number in range(1, 4)]
    other = study("other", starts=3, at=9.0)
    started = [allocation.study for allocation in allocate(["a", "b", "c", "d"], [*parts, other])]
    assert sorted(started) == sorted([parts[0].name, parts[1].name, "other", "other"])


def test_a_cap_is_that_of_the_whole_comparison() -> None:
    """Whoever leaves the rest of the box to others doesn't mean two devices for each of ten runs."""
    parts = [part(number) for number in range(1, 4)]
    capped = [Study(replace(study.spec, max_devices=2), at=study.created_at) for study in parts]
    assert len(allocate(["a", "b", "c", "d"], capped)) == 2
