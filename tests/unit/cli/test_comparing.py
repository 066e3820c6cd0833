"""What `cnnbo compare` prints, line by line."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.comparisons import BEGIN, comparison, members

from cnnbo.cli.comparing import QUIET_S, Course, median_duration_s, plan_lines, plan_rows, show_lines
from cnnbo.daemon.messages import comparison_object, study_object
from cnnbo.daemon.studyfile.compare import opening_specs
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import Members
from cnnbo.scheduler.spec import Budget, Plan, StudySpec
from cnnbo.scheduler.study import Study

PLAN = Plan("small", ("bo", "random"), runs=2, evaluations=4, confirm=1, figure2=True)
DEVICES = [{"uuid": "cpu-0", "index": 0, "state": "idle", "reason": None}]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def whole() -> Members:
    return members(comparison(PLAN))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def shown(whole: Members) -> dict[str, Any]:
    return dict(comparison_object(whole, BEGIN + 1e6))


def course(at: Mapping[str, Any], clock: Callable[[], float]) -> tuple[Course, list[str]]:
    lines: list[str] = []
    return Course(at, DEVICES, lines.append, clock), lines


def untimed(lines: list[str]) -> list[str]:
    return [line.split(" ", 1)[1] if line[:1].isdigit() else line.strip() for line in lines]


def event(study: Study, trial: int, kind: str, **changes: object) -> dict[str, Any]:
    body = {
        "event": f"trial_{kind}", "study": study.name, "trial": trial, "device": "cpu-0", "duration_s": 4.0,
        "value": None, "failure": None, "message": None, "best_trial": None, "source": "random",
    }  # fmt: skip
    return body | changes


def test_a_trial_is_told_with_its_run(whole: Members, clock: Clock) -> None:
    """Ten runs are told in one stream."""
    told, lines = course(shown(whole), clock)
    run = whole.runs("bo")[1]
    told.take("event", event(run, 3, "complete", value=0.5, best_trial=3))
    told.take("event", event(run, 5, "complete", value=0.19, at_chance=True, best_trial=5))
    told.take("event", event(run, 4, "failed", failure="diverged", message="NaN"))
    told.take("event", event(run, 4, "interrupted", message="The daemon died."))
    told.take("event", event(run, 4, "started"))
    assert untimed(lines) == [
        "bo-2           #3   cpu-0    4.0s  val_accuracy 0.5  BEST of the run",
        "bo-2           #5   cpu-0    4.0s  val_accuracy 0.19, no better than chance",
        "bo-2           #4   cpu-0    4.0s  diverged: NaN",
        "bo-2           #4   cpu-0    4.0s  interrupted: The daemon died. (runs again)",
    ]


def test_a_stage_that_begins_is_told_and_other_studies_are_not(clock: Clock, whole: Members) -> None:
    """A study called `small-talk` is nobody's part."""
    before = Members(whole.search, {})
    told, lines = course(shown(before), clock)
    confirm = study_object(whole.studies[-1], BEGIN)
    told.take(f"study/{confirm['name']}", confirm)
    told.take("study/small-talk", {**confirm, "name": "small-talk", "comparison": None})
    told.take("event", event(Study(StudySpec(SVHN_CNN.space, name="small-talk")), 1, "complete", value=1.0))
    [line] = untimed(lines)
    assert line == f"{confirm['name'].removeprefix('small-')} begins: {confirm['evaluations']} trials"


def test_a_heartbeat_says_how_long_it_will_take(whole: Members, clock: Clock) -> None:
    """From the pace of this command alone: what was finished before says nothing of it."""
    at = shown(Members(whole.search, {}))
    at["studies"] = [{**study, "finished": 1, "running": 1} for study in at["studies"]]
    told, lines = course(at, clock)
    clock.now = QUIET_S - 1
    told.beat()
    assert lines == []
    for study in at["studies"]:
        told.take(f"study/{study['name']}", {**study, "finished": 2})
    clock.now = QUIET_S
    told.beat()
    assert untimed(lines) == ["8 of 24 finished, 4 running, about 20m00s left"]


async def test_it_is_over_when_the_daemon_has_nothing_more_to_come(whole: Members, clock: Clock) -> None:
    """Between two stages everything that is known has ended."""
    told, _ = course(shown(whole), clock)
    answers = iter([{"state": "running", "studies": []}, {"state": "finished", "studies": []}])

    async def show() -> Mapping[str, Any]:
        return next(answers)

    assert not await told.is_over(show)
    assert await told.is_over(show)


def test_the_farewell_names_the_next_command(whole: Members, clock: Clock) -> None:
    """And what each method found, in every run."""
    at = shown(whole)
    told, lines = course(at, clock)
    assert told.goodbye(at) == 0
    assert untimed(lines)[0].startswith("finished: ")
    assert untimed(lines)[-1] == "next: cnnbo report small -o DIR"
    [of_bo] = [line for line in lines if line.strip().startswith("bo ")]
    assert "best of 4 in each run: " in of_bo


def test_luck_is_counted_apart_from_failures_in_whole_and_parts(whole: Members, clock: Clock) -> None:
    """And a run of nothing else is named, with what to look at."""
    at = shown(whole)
    at["studies"][0] |= {"at_chance": 3, "failed": 1, "finished": 4, "advice": "look first at the range of lr"}
    at["studies"][1] |= {"at_chance": 2, "failed": 1, "finished": 4, "advice": None}
    at |= {"at_chance": 5, "failed": 2, "finished": 20}
    told, lines = course(at, clock)
    told.goodbye(at)
    assert untimed(lines)[0].startswith("finished: 20 trials: 13 with a value, 5 at chance, 2 failed")
    name = at["studies"][0]["name"]
    assert [line for line in untimed(lines) if "look first" in line] == [f"{name}: look first at the range of lr"]
    head, first, *_ = show_lines(at)
    assert head.endswith("running, 5 at chance, 2 failed")
    assert "4 of 4, 3 at chance, 1 failed" in first


def test_a_part_that_crashes_paused_is_told_with_the_remedy(whole: Members, clock: Clock) -> None:
    """Only what the same command does is fair to all methods; resumed, the crashes would count as evaluations."""
    at = shown(whole)
    at["studies"][0] |= {"state": "paused", "reason": "crashes", "undecided": [1, 2]}
    at |= {"state": "paused", "finished": 9, "at_chance": 1, "failed": 3}
    lines: list[str] = []
    told = Course(at, DEVICES, lines.append, clock, " --state /tower")
    assert told.goodbye(at) == 1
    name = at["studies"][0]["name"]
    assert untimed(lines)[-4].startswith("paused: 9 trials: 5 with a value, 1 at chance, 1 failed, 2 undecided")
    assert untimed(lines)[-3:] == [
        f"{name} was paused by equal crashes (cnnbo trials {name} --failed --state /tower)",
        "Mend the cause, then give the same command: what crashed so runs again, and is held",
        "against no configuration.",
    ]


@pytest.mark.parametrize(("reason", "is_over"), [("crashes", True), ("user", False)])
async def test_what_the_user_paused_is_waited_for(whole: Members, clock: Clock, reason: str, is_over: bool) -> None:
    """They will resume it; crashes need somebody to look at them."""
    at = shown(whole)
    at["studies"][0] |= {"state": "paused", "reason": reason}
    told, _ = course(at, clock)

    async def show() -> Mapping[str, Any]:
        return {"state": "paused", "studies": []}

    assert await told.is_over(show) is is_over


def test_show_lists_the_parts(whole: Members) -> None:
    """Which of twelve studies is behind is seen at a glance."""
    lines = show_lines(shown(whole))
    assert lines[0].startswith("small   finished   2 runs of bo, random   ")
    assert [line.split()[0] for line in lines[1 : 1 + len(whole.studies)]] == [
        study.name.removeprefix("small-") for study in whole.studies
    ]


def specs(plan: Plan = PLAN, price: float = 0.0) -> tuple[StudySpec, ...]:
    template = StudySpec(SVHN_CNN.space, model="svhn-cnn", data_dir="/data", budget=Budget(price_per_device_hour=price))
    return opening_specs(template, plan, has_start=False)


def test_the_plan_counts_what_can_come_at_most(whole: Members) -> None:
    """People decide by it whether to begin; a comparison that was played stays within."""
    planned = sum(count for _, _, count in plan_rows(PLAN, specs()))
    assert planned == 8 + 16 + 2 + 2 + 18 + 9 + 12 + 2 + 2
    assert sum(len(study.trials) for study in whole.studies) <= planned


def test_the_plan_tells_time_and_price_from_earlier_trials() -> None:
    """Two devices halve the time, and not the price."""
    lines = plan_lines(replace(PLAN, confirm=0), specs(price=2.0), devices=2, median_s=360.0)
    total = sum(count for _, _, count in plan_rows(replace(PLAN, confirm=0), specs()))
    assert lines[-1] == f"price: about {total * 0.2:.2f} ({total / 10:.2f} device-hours at 2)"
    assert lines[-2].startswith("time: about 2h") and "on 2 devices, at 360.0 s a trial" in lines[-2]


def test_without_earlier_trials_no_time_is_made_up() -> None:
    """What a second of a trial makes is known all the same."""
    lines = plan_lines(PLAN, specs(), devices=1, median_s=None)
    total = sum(count for _, _, count in plan_rows(PLAN, specs()))
    assert f"each second of a trial makes {total} s on 1 device." in lines[-2]


def test_only_trials_that_were_trained_the_same_way_tell_the_time(whole: Members) -> None:
    """Those of another batch size, or of other images, take another time."""
    run = whole.runs("bo")[0]
    durations = [trial.duration_s for trial in run.trials]
    assert min(d for d in durations if d) <= (median_duration_s([run], run.spec) or 0) <= max(d for d in durations if d)
    other = replace(run.spec, trial=replace(run.spec.trial, batch_size=7))
    assert median_duration_s([run], other) is None
