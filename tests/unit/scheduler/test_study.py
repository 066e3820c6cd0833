"""The study's decisions, from events fed in and commands that come out."""

import math
from dataclasses import replace

import pytest

from cnnbo.scheduler.errors import InvalidTransitionError, RequestError
from cnnbo.scheduler.events import (
    AskDropped,
    AskOptimizer,
    BudgetReached,
    Command,
    Event,
    PointsSuggested,
    StopTrial,
    StudyAmended,
    StudyArchived,
    StudyCancelled,
    StudyCreated,
    StudyPaused,
    StudyResumed,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import FloatParameter, IntParameter, SearchSpace
from cnnbo.scheduler.spec import Direction, StudySpec, TrialSettings
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure, TrialState

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0),))


class Script:
    """Feeds events to a study as the daemon does, and keeps them for a replay."""

    def __init__(self, spec: StudySpec) -> None:
        self.study = Study(spec, at=1.0)
        self.events: list[Event] = [StudyCreated(1.0, spec)]
        self.clock = 1.0

    def feed(self, event: Event) -> list[Command]:
        self.study.check(event)
        self.events.append(event)
        return self.study.handle(event)

    def propose(self, *points: float) -> list[int]:
        """Request, and answer with these points; returns the new trials' ids."""
        [command] = self.feed(TrialsRequested(self.clock, len(points)))
        assert isinstance(command, AskOptimizer)
        before = len(self.study.trials)
        self.feed(PointsSuggested(self.clock, command.ask, tuple((p,) for p in points), Source.SURROGATE))
        return [trial.id for trial in self.study.trials[before:]]

    def start(self, trial: int, device: str = "gpu-a") -> None:
        self.feed(TrialStarted(self.clock, trial, len(self.study.trial(trial).attempts) + 1, device))

    def complete(self, trial: int, value: float, seconds: float = 1.0) -> list[Command]:
        self.clock += seconds
        return self.feed(TrialCompleted(self.clock, trial, len(self.study.trial(trial).attempts), value))

    def fail(self, trial: int, failure: Failure, message: str = "", is_lost: bool = True) -> list[Command]:
        attempt = len(self.study.trial(trial).attempts)
        return self.feed(TrialFailed(self.clock, trial, attempt, failure, message, is_lost=is_lost))

    def run(self, point: float, value: float, seconds: float = 1.0) -> int:
        [trial] = self.propose(point)
        self.start(trial)
        self.complete(trial, value, seconds)
        return trial


@pytest.fixture
def script() -> Script:
    return Script(StudySpec(SPACE, evaluations=4))


def test_start_configurations_come_first_and_once() -> None:
    """A first trial with the user's own defaults shows whether the search is worth it."""
    spec = StudySpec(SPACE, evaluations=3, start=({"x": 0.5}, {"x": 0.5}, {"x": 0.25}))
    study = Study(spec)
    assert [(t.configuration["x"], t.source) for t in study.ready] == [(0.5, "start"), (0.25, "start")]
    assert study.requestable == 1


def test_a_study_ends_when_its_evaluations_are_spent(script: Script) -> None:
    """Failed trials count too, or a bad region would never end."""
    script.run(0.1, 0.5)
    script.run(0.2, 0.9)
    [third, fourth] = script.propose(0.3, 0.4)
    script.start(third)
    script.start(fourth)
    script.fail(third, Failure.DIVERGED)
    assert script.study.state is StudyState.RUNNING
    script.complete(fourth, 0.1)
    assert (script.study.state, script.study.reason, script.study.finished) == ("finished", "evaluations", 4)
    assert script.study.incumbent == script.study.trial(2)
    assert script.study.requestable == 0


def test_a_study_without_any_value_has_failed(script: Script) -> None:
    """ "Finished" would make a script believe that there is a best configuration."""
    for point in (0.1, 0.2, 0.3, 0.4):
        [trial] = script.propose(point)
        script.start(trial)
        script.fail(trial, Failure.DIVERGED)
    assert script.study.state is StudyState.FAILED


def test_failures_of_the_configuration_are_told_and_the_machines_are_not(script: Script) -> None:
    """A lost device says nothing about the point; a diverged loss says that it is bad."""
    [bad, unlucky] = script.propose(0.1, 0.2)
    script.start(bad)
    script.start(unlucky)
    script.fail(bad, Failure.OUT_OF_MEMORY)
    script.fail(unlucky, Failure.DEVICE_LOST)
    history = script.study.history()
    assert history.failed.tolist() == [[0.1]]
    assert history.pending.tolist() == [[0.2]]
    assert script.study.ready[0].id == unlucky


def test_a_trial_lost_three_times_counts_is_never_told_and_never_proposed_again(script: Script) -> None:
    """Otherwise one configuration that kills the box would be tried for ever."""
    [trial] = script.propose(0.1)
    for _ in range(3):
        script.start(trial)
        script.fail(trial, Failure.INTERRUPTED)
    assert script.study.trial(trial).failure is Failure.INTERRUPTED
    history = script.study.history()
    assert (history.failed.size, history.excluded.tolist(), history.taken.tolist()) == (0, [[0.1]], [[0.1]])


def test_a_pause_does_not_count_as_lost(script: Script) -> None:
    """Pausing every evening must not use up a trial's attempts."""
    [trial] = script.propose(0.1)
    for _ in range(5):
        script.start(trial)
        script.fail(trial, Failure.INTERRUPTED, is_lost=False)
    assert script.study.trial(trial).state is TrialState.PENDING


def test_pause_stops_new_trials_and_now_stops_running_ones(script: Script) -> None:
    """Plain pause lets running work end; `--now` is for when the machine is needed."""
    [trial] = script.propose(0.1)
    script.start(trial)
    assert script.feed(StudyPaused(2.0)) == []
    assert script.study.requestable == 0
    assert script.feed(StudyPaused(2.0, now=True)) == [StopTrial(trial, 1)]
    script.feed(StudyResumed(3.0))
    assert script.study.requestable == 3


def test_an_answer_to_an_ask_from_before_the_pause_is_refused(script: Script) -> None:
    """A superseded answer must not bring a trial into a study that has moved on."""
    [command] = script.feed(TrialsRequested(1.0, 1))
    assert isinstance(command, AskOptimizer)
    script.feed(StudyPaused(2.0))
    with pytest.raises(InvalidTransitionError):
        script.feed(PointsSuggested(3.0, command.ask, ((0.5,),), Source.SURROGATE))


def test_asks_never_share_a_sobol_element(script: Script) -> None:
    """The number of an ask is the number of points asked for before it, dropped ones included."""
    [first] = script.feed(TrialsRequested(1.0, 3))
    assert first == AskOptimizer(0, 3)
    script.feed(AskDropped(1.0, 0))
    assert script.feed(TrialsRequested(1.0, 1)) == [AskOptimizer(3, 1)]


def test_a_second_ask_waits_for_the_first(script: Script) -> None:
    """Each proposal must see the points of the one before it as pending."""
    script.feed(TrialsRequested(1.0, 1))
    assert script.study.requestable == 0


@pytest.mark.parametrize("points", [((0.1,),), ((0.2,), (0.2,)), ((0.2,),) * 3, ((0.2, 0.3), (0.4,))])
def test_duplicates_and_misfits_from_the_proposer_are_refused(
    points: tuple[tuple[float, ...], ...], script: Script
) -> None:
    """A wrong answer must not cost an evaluation."""
    script.run(0.1, 0.5)
    [command] = script.feed(TrialsRequested(1.0, 2))
    assert isinstance(command, AskOptimizer)
    with pytest.raises(InvalidTransitionError):
        script.feed(PointsSuggested(1.0, command.ask, points, Source.SURROGATE))


def test_three_equal_crashes_in_a_row_pause_the_study() -> None:
    """A broken script must not burn the whole budget overnight."""
    script = Script(StudySpec(SPACE, evaluations=10))
    for point in (0.1, 0.2, 0.3):
        [trial] = script.propose(point)
        script.start(trial)
        script.fail(trial, Failure.CRASHED, "No module named 'torch'")
    assert (script.study.state, script.study.reason) == ("paused", "crashes")
    script.feed(StudyResumed(9.0))
    [trial] = script.propose(0.4)
    script.start(trial)
    script.fail(trial, Failure.CRASHED, "No module named 'torch'")
    assert script.study.state is StudyState.RUNNING  # counting starts anew


def test_equal_crashes_pause_even_a_study_that_is_at_its_end() -> None:
    """`paused` says what to mend; `failed` would only say that all is lost."""
    script = Script(StudySpec(SPACE, evaluations=3))
    for point in (0.1, 0.2, 0.3):
        [trial] = script.propose(point)
        script.start(trial)
        script.fail(trial, Failure.CRASHED, "no")
    assert (script.study.state, script.study.reason) == ("paused", "crashes")


def test_unequal_crashes_do_not_pause_the_study() -> None:
    """Crashes that differ may come from the configurations; the optimizer learns from them."""
    script = Script(StudySpec(SPACE, evaluations=10))
    for k, point in enumerate((0.1, 0.2, 0.3, 0.4)):
        [trial] = script.propose(point)
        script.start(trial)
        script.fail(trial, Failure.CRASHED, f"assertion {k}")
    assert script.study.state is StudyState.RUNNING


def test_cancel_ends_waiting_trials_and_stops_running_ones(script: Script) -> None:
    """After `cancel` nothing starts, and what runs is ended without counting as a failure."""
    [running, waiting] = script.propose(0.1, 0.2)
    script.start(running)
    assert script.feed(StudyCancelled(5.0)) == [StopTrial(running, 1)]
    script.fail(running, Failure.INTERRUPTED)
    states = {trial.id: trial.state for trial in script.study.trials}
    assert states == {running: TrialState.CANCELLED, waiting: TrialState.CANCELLED}
    with pytest.raises(RequestError, match="nothing to cancel"):
        script.feed(StudyCancelled(6.0))


def test_only_ended_studies_are_archived(script: Script) -> None:
    """Hiding a study that still starts trials would hide what the box is doing."""
    with pytest.raises(RequestError, match="cnnbo cancel"):
        script.feed(StudyArchived(1.0))


def test_more_evaluations_wake_a_finished_study(script: Script) -> None:
    """Adding forty trials must never cost the results of the first ones."""
    for point in (0.1, 0.2, 0.3, 0.4):
        script.run(point, point)
    script.feed(StudyAmended(9.0, replace(script.study.spec, evaluations=6)))
    assert (script.study.state, script.study.requestable) == ("running", 2)


def test_any_other_change_is_refused_by_name(script: Script) -> None:
    """Results of two different studies must not be mixed."""
    with pytest.raises(RequestError, match="another seed, metric"):
        script.feed(StudyAmended(9.0, replace(script.study.spec, seed=1, metric="loss")))


def test_a_reached_budget_lets_running_trials_end(script: Script) -> None:
    """Half-trained networks are wasted money."""
    [trial] = script.propose(0.1)
    script.start(trial)
    script.feed(BudgetReached(2.0, "cost"))
    assert (script.study.state, script.study.requestable) == ("running", 0)
    script.complete(trial, 0.5)
    assert (script.study.state, script.study.reason) == ("finished", "budget")


def test_a_finite_space_ends_when_it_is_used_up() -> None:
    """Proposing a configuration twice would waste a trial; waiting for ever would waste the night."""
    script = Script(StudySpec(SearchSpace((IntParameter("n", 1, 2),)), evaluations=80))
    assert script.study.requestable == 2
    script.run(0.25, 1.0)
    script.run(0.75, 2.0)
    assert (script.study.state, script.study.reason) == ("finished", "space_exhausted")


def test_the_timeout_follows_the_first_five_trials() -> None:
    """A hung trial must end, a slow but healthy one must not."""
    script = Script(StudySpec(SPACE, evaluations=20))
    assert script.study.timeout_s == 24 * 3600
    for k in range(5):
        script.run(0.1 + k / 10, 0.5, seconds=100.0)
    assert script.study.timeout_s == 1000.0
    given = Study(replace(script.study.spec, trial=TrialSettings(timeout_s=7.0)))
    assert given.timeout_s == 7.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_never_enters(value: float, script: Script) -> None:
    """One NaN would poison every later fit."""
    [trial] = script.propose(0.1)
    script.start(trial)
    with pytest.raises(InvalidTransitionError):
        script.complete(trial, value)


def test_an_end_is_taken_once(script: Script) -> None:
    """A result that is harvested and reported must be told to the optimizer exactly once."""
    [trial] = script.propose(0.1)
    script.start(trial)
    script.complete(trial, 0.5)
    with pytest.raises(InvalidTransitionError, match="TrialStarted, TrialCompleted"):
        script.fail(trial, Failure.TIMEOUT)


def test_minimised_values_stay_as_reported(script: Script) -> None:
    """The sign is turned in one place; users never see a negated loss."""
    other = Script(replace(script.study.spec, direction=Direction.MINIMIZE))
    other.run(0.1, 3.0)
    other.run(0.2, 2.0)
    assert other.study.incumbent is not None and other.study.incumbent.value == 2.0
    assert other.study.history().objectives.tolist() == [[3.0], [2.0]]


def test_a_journalled_ask_can_be_handed_over_again(script: Script) -> None:
    """Proposals are checked by repeating them: same trials, same hint, whatever has happened since."""
    script.run(0.1, 0.5)
    [a] = script.propose(0.2)
    script.start(a)
    before, basis = script.study.history(), script.study.basis()
    script.complete(a, 0.9)
    script.study.hint = b"newer"
    again = script.study.history(basis, hint=None)
    assert (again.observed.tolist(), again.objectives.tolist()) == (
        before.observed.tolist(),
        before.objectives.tolist(),
    )
    assert (again.pending.tolist(), again.hint) == ([[0.2]], None)


def test_a_replay_rebuilds_the_study(script: Script) -> None:
    """The journal is the truth: what it says must be what the daemon knew."""
    script.run(0.1, 0.5)
    [a, b] = script.propose(0.2, 0.3)
    script.start(a)
    script.fail(a, Failure.INTERRUPTED)
    script.start(a, "gpu-b")
    script.start(b)
    script.feed(StudyPaused(5.0))
    script.complete(b, 0.7)
    twin = Study.replay(script.events)
    assert twin.trials == script.study.trials
    assert (twin.state, twin.reason, twin.requestable) == (script.study.state, script.study.reason, 0)


def test_a_copy_is_independent(script: Script) -> None:
    """The daemon tries an event on a copy before it is journalled."""
    twin = script.study.copy()
    script.run(0.1, 0.5)
    assert (twin.trials, twin.requestable) == ((), 4)


def test_a_notebook_can_tell_failures(script: Script) -> None:
    """The same study class serves without a daemon; NaN is a failure there too."""
    study = Study(StudySpec(SPACE, start=({"x": 0.5}, {"x": 0.25}, {"x": 0.75})))
    study.tell(study.ask(), failure="out_of_memory")
    study.tell(study.ask(), float("nan"))
    assert [trial.failure for trial in study.trials[:2]] == ["out_of_memory", "diverged"]
    with pytest.raises(RequestError, match="either"):
        study.tell(study.ask())
    with pytest.raises(RequestError, match="no failure class"):
        study.tell(3, failure="bored")
