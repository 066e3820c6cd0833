"""The study's decisions, from events fed in and commands that come out."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnnbo.scheduler.errors import InvalidTransitionError, RequestError, SpaceExhaustedError, SurrogateFitError
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
    TrialsRetried,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.registry import create_optimizer
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from cnnbo.scheduler.spec import Direction, ReportSettings, StudySpec, TrialSettings
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

    def complete(self, trial: int, value: float, seconds: float = 1.0, chance: float | None = None) -> list[Command]:
        self.clock += seconds
        attempt = len(self.study.trial(trial).attempts)
        return self.feed(TrialCompleted(self.clock, trial, attempt, value, chance=chance))

    def fail(self, trial: int, failure: Failure, message: str = "", is_lost: bool = True) -> list[Command]:
        attempt = len(self.study.trial(trial).attempts)
        return self.feed(TrialFailed(self.clock, trial, attempt, failure, message, is_lost=is_lost))

    def run(self, point: float, value: float, seconds: float = 1.0, chance: float | None = None) -> int:
        [trial] = self.propose(point)
        self.start(trial)
        self.complete(trial, value, seconds, chance)
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
    assert study.trial(2).message == "The value was nan."


# -- what luck explains


@pytest.mark.parametrize(
    ("direction", "value", "chance", "at_chance"),
    [
        (Direction.MAXIMIZE, 0.14, 0.14, True),
        (Direction.MAXIMIZE, 0.15, 0.14, False),
        (Direction.MINIMIZE, 2.25, 2.25, True),
        (Direction.MINIMIZE, 2.2, 2.25, False),
        (Direction.MAXIMIZE, 0.0, None, False),
    ],
)
def test_a_value_no_better_than_chance_is_marked(
    direction: Direction, value: float, chance: float | None, at_chance: bool
) -> None:
    """A trial that learnt nothing has ended well: it has a value and counts, and nobody takes it for a success."""
    script = Script(StudySpec(SPACE, evaluations=4, direction=direction))
    told = script.study.trial(script.run(0.1, value, chance=chance))
    assert (told.state, told.value, told.failure) == (TrialState.COMPLETE, value, None)
    assert (told.chance, told.at_chance, script.study.at_chance) == (chance, at_chance, int(at_chance))
    assert script.study.finished == 1


def test_the_study_file_knows_better_than_the_script_what_luck_explains() -> None:
    """Who writes `[report] chance` says it of a script that nobody may edit."""
    script = Script(StudySpec(SPACE, evaluations=4, report=ReportSettings(chance=0.5)))
    told = [script.study.trial(script.run(*run)) for run in ((0.1, 0.4, 1.0, 0.2), (0.2, 0.6, 1.0, 0.9))]
    assert [(trial.chance, trial.at_chance) for trial in told] == [(0.5, True), (0.5, False)]


def test_the_optimizer_is_told_the_bound_instead_of_the_value(script: Script) -> None:
    """Differences between values that luck explains are noise, which a surrogate would chase."""
    script.run(0.1, 0.13, chance=0.2)
    script.run(0.2, 0.9, chance=0.2)
    script.run(0.3, 0.17, chance=0.25)
    [pending] = script.propose(0.4)
    history = script.study.history()
    assert (history.observed.tolist(), history.objectives.tolist()) == ([[0.2]], [[-0.9]])
    assert (history.censored.tolist(), history.bounds.tolist()) == ([[0.1], [0.3]], [[-0.2], [-0.25]])
    assert history.taken.tolist() == [[0.2], [0.1], [0.3], [0.4]]
    assert (history.trials, history.sources) == ((2, 1, 3, pending), (Source.SURROGATE,) * 4)
    assert len(history.failed) == 0


def test_the_best_is_one_at_chance_only_as_long_as_there_is_no_other(script: Script) -> None:
    """Its value may even be the higher one, where the bound depends on the trial."""
    script.run(0.1, 0.3, chance=0.4)
    assert script.study.incumbent is not None and script.study.incumbent.id == 1
    script.run(0.2, 0.25, chance=0.2)
    assert script.study.incumbent.id == 2


def test_a_study_with_every_trial_at_chance_is_finished(script: Script) -> None:
    """Nothing failed; that nothing was learnt is for its screens to say."""
    for point in (0.1, 0.2, 0.3, 0.4):
        script.run(point, 0.1, chance=0.2)
    assert (script.study.state, script.study.reason, script.study.at_chance) == ("finished", "evaluations", 4)


def test_a_trial_at_chance_ends_a_row_of_crashes(script: Script) -> None:
    """The script works: it came to its end."""
    for point in (0.1, 0.2):
        [trial] = script.propose(point)
        script.start(trial)
        script.fail(trial, Failure.CRASHED, "KeyError")
    script.run(0.3, 0.1, chance=0.2)
    [last] = script.propose(0.4)
    script.start(last)
    script.fail(last, Failure.CRASHED, "KeyError")
    assert script.study.reason != "crashes"


def test_trainings_that_gave_up_early_say_nothing_about_how_long_one_takes() -> None:
    """Ten times the seconds of an early end at chance would kill the one training that learns."""
    script = Script(StudySpec(SPACE, evaluations=20))
    for k in range(9):
        script.run(k / 20, 0.1, seconds=5.0, chance=0.2)
    assert script.study.timeout_s == 24 * 3600
    for k in range(5):
        script.run(0.5 + k / 20, 0.9, seconds=100.0, chance=0.2)
    assert script.study.timeout_s == 1000.0


def test_a_bound_that_is_no_number_is_refused(script: Script) -> None:
    """Nothing compares with NaN, so the trial would be neither at chance nor beyond it."""
    [trial] = script.propose(0.1)
    script.start(trial)
    with pytest.raises(InvalidTransitionError):
        script.complete(trial, 0.5, chance=math.nan)
    assert script.study.trial(trial).state is TrialState.RUNNING


def test_a_retry_withdraws_that_a_trial_was_at_chance(script: Script) -> None:
    """What it comes to the second time is another matter."""
    trial = script.run(0.1, 0.1, chance=0.2)
    basis = script.study.basis()
    script.feed(TrialsRetried(5.0, (trial,)))
    withdrawn = script.study.trial(trial)
    assert (withdrawn.chance, withdrawn.at_chance, script.study.at_chance) == (None, False, 0)
    with pytest.raises(RequestError, match="the value of trial 1 that this ask knew was withdrawn"):
        script.study.history(basis)
    script.start(trial)
    script.complete(trial, 0.9, chance=0.2)
    assert script.study.history().objectives.tolist() == [[-0.9]]


def test_an_ask_based_on_a_trial_at_chance_can_be_handed_over_again(script: Script) -> None:
    """The bound is part of what the optimizer was told."""
    script.run(0.1, 0.1, chance=0.2)
    before, basis = script.study.history(), script.study.basis()
    script.run(0.2, 0.15, chance=0.2)
    again = script.study.history(basis)
    assert again.censored.tolist() == before.censored.tolist() == [[0.1]]
    assert again.bounds.tolist() == before.bounds.tolist() == [[-0.2]]
    assert (again.trials, again.sources) == (before.trials, before.sources)


def test_a_notebook_says_once_what_luck_explains() -> None:
    """`tell` takes the value alone; the study knows the rest."""
    study = Study(StudySpec(SPACE, evaluations=2, start=({"x": 0.5}, {"x": 0.25}), report=ReportSettings(chance=0.1)))
    for value in (0.05, 0.1):
        study.tell(study.ask(), value)
    assert [trial.at_chance for trial in study.trials] == [True, True]
    with pytest.raises(RequestError, match=r"is finished: .*; no trial is better than chance"):
        study.ask()


# -- what notebooks do wrong: a clear sentence, and a study as it was before


SIX = SearchSpace((IntParameter("n", 1, 3), CategoricalParameter("c", ("a", "b"))))


def notebook(space: SearchSpace = SIX, evaluations: int = 80, optimizer: str = "random") -> Study:
    return Study(StudySpec(space, evaluations=evaluations), create_optimizer(optimizer, space, seed=0))


def state_of(study: Study) -> object:
    """All that an error must leave alone."""
    history = study.history()
    points = (history.observed.tolist(), history.objectives.tolist(), history.failed.tolist(), history.pending.tolist())
    return study.trials, study.state, study.reason, study.requestable, points


@pytest.mark.parametrize(
    "value",
    [
        *("0.5", b"0.5", True, np.bool_(True), [0.5], np.array([0.5]), [[1], [1, 2]], 1 + 2j, np.complex64(1), {}),
        object(),
    ],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    """A text or a truth value is a slip of the caller, who should hear of it; half an array is no measurement."""
    study = notebook()
    trial = study.ask()
    before = state_of(study)
    with pytest.raises(RequestError, match=r"trial 1: a value is one real number, not .* nothing was told\.$"):
        study.tell(trial, value)
    assert state_of(study) == before
    study.tell(trial, 0.5)
    assert study.ask().id == 2


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(2), np.array(0.5), 2])
def test_scalars_of_other_libraries_are_numbers(value: Any) -> None:
    """A metric comes out of NumPy or TensorFlow more often than as a float."""
    study = notebook()
    study.tell(study.ask(), value)
    told = study.trial(1).value
    assert (type(told), told) == (float, float(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400])
def test_a_value_beyond_all_numbers_is_a_failed_trial(value: Any) -> None:
    """A diverged loss is a result: the optimizer learns where not to look, and no fit ever meets a NaN."""
    study = notebook()
    study.tell(study.ask(), value)
    assert (study.trial(1).failure, len(study.history().failed), len(study.history().objectives)) == ("diverged", 1, 0)


def test_a_trial_is_told_once() -> None:
    """A cell that is run twice must neither count twice nor overwrite."""
    study = notebook()
    trial = study.ask()
    study.tell(trial, 0.5)
    before = state_of(study)
    again: dict[str, Any]
    for again in ({"value": 0.6}, {"failure": "diverged"}):
        with pytest.raises(RequestError, match=r"trial 1 was told already \(value 0\.5\), and that stands"):
            study.tell(trial, **again)
    assert state_of(study) == before
    assert study.ask().id == 2


@pytest.mark.parametrize(
    ("trial", "told", "sentence"),
    [
        (1, {}, "trial 1: tell takes either a value or a failure"),
        (1, {"value": 0.5, "failure": "diverged"}, "trial 1: tell takes either a value or a failure"),
        (1, {"failure": "bored"}, "'bored' .* no failure class; use one of diverged"),
        (1, {"failure": ValueError("x")}, "no failure class"),
        (2, {"value": 0.5}, "trial 2 is not running; ask.. hands it out first"),
        (77, {"value": 0.5}, "has no trial 77; it has 2"),
        ("1", {"value": 0.5}, "a trial that ask.. gave, or its number, not '1'"),
        (None, {"value": 0.5}, "a trial that ask.. gave, or its number, not None"),
        (True, {"value": 0.5}, "a trial that ask.. gave, or its number, not True"),
        ({"x": 0.5}, {"value": 0.5}, "a trial that ask.. gave, or its number"),
    ],
)
def test_a_wrong_tell_names_what_is_wrong(trial: Any, told: dict[str, Any], sentence: str) -> None:
    """One sentence, and the trial waits for the right call."""
    study = Study(StudySpec(SPACE, start=({"x": 0.5}, {"x": 0.25})))
    study.ask()
    before = state_of(study)
    with pytest.raises(RequestError, match=sentence):
        study.tell(trial, **told)
    assert state_of(study) == before
    study.tell(np.int64(1), 0.5)
    assert study.trial(1).value == 0.5


def test_a_trial_of_another_study_is_not_taken_for_ones_own() -> None:
    """Two studies in one notebook both have a trial 1."""
    ours, theirs = notebook(), Study(StudySpec(SPACE, start=({"x": 0.5},)))
    ours.ask()
    with pytest.raises(RequestError, match="trial 1 is of another study"):
        ours.tell(theirs.ask(), 0.5)
    assert ours.trial(1).state is TrialState.RUNNING


@pytest.mark.parametrize("optimizer", ["random", "sobol", pytest.param("trieste", marks=pytest.mark.tensorflow)])
@pytest.mark.filterwarnings("ignore")  # TensorFlow and its company warn of their own making as they are imported
def test_a_space_is_asked_to_its_last_configuration_and_then_ends(optimizer: str) -> None:
    """More evaluations than configurations: each is tried once, the study says so and ends with a best."""
    study = notebook(optimizer=optimizer)
    for k in range(4):
        study.tell(study.ask(), float(k))
    fifth, sixth = study.ask(), study.ask()
    before = state_of(study)
    with pytest.raises(RequestError, match="all 6 configurations of its space are handed out; tell the 2 running"):
        study.ask()
    assert state_of(study) == before
    study.tell(fifth, 9.0)
    study.tell(sixth, failure="diverged")
    assert (study.state, study.reason, study.incumbent and study.incumbent.id) == ("finished", "space_exhausted", 5)
    assert len({trial.point for trial in study.trials}) == 6
    with pytest.raises(RequestError, match="is finished: all 6 configurations of its space were tried"):
        study.ask()


def test_an_ask_too_many_says_what_to_do() -> None:
    """`no trial` alone would leave people guessing whether to wait, to tell or to stop."""
    study = notebook(evaluations=2)
    first, second = study.ask(), study.ask()
    with pytest.raises(RequestError, match="all 2 evaluations are handed out; tell the 2 running trials"):
        study.ask()
    study.tell(first, failure="timeout")
    study.tell(second, failure="timeout")
    with pytest.raises(RequestError, match="is failed: all 2 evaluations are spent; no trial gave a value"):
        study.ask()


def test_equal_crashes_pause_a_notebook_and_say_how_to_go_on() -> None:
    """A study that stops giving trials without a word looks broken."""
    study = notebook()
    for _ in range(3):
        study.tell(study.ask(), failure="crashed")
    with pytest.raises(RequestError, match=r"last 3 crashes were equal .* study\.handle\(StudyResumed\(0\.0\)\)"):
        study.ask()
    study.handle(StudyResumed(0.0))
    assert study.ask().id == 4


class Stumbling:
    """An optimizer whose answers are given beforehand: an exception to raise, or points."""

    def __init__(self, *answers: BaseException | list[list[float]]) -> None:
        self._answers = list(answers)

    def suggest(self, history: History, ask: int, count: int) -> Suggestion:
        given = self._answers.pop(0)
        if isinstance(given, BaseException):
            raise given
        return Suggestion(np.array(given), Source.RANDOM, {})


@pytest.mark.parametrize(
    "stumble",
    [
        *(KeyboardInterrupt(), SurrogateFitError("no fit"), ZeroDivisionError(), [[math.nan]], [[1.5]], [[-0.1]]),
        *([], [[0.1, 0.2]], [[0.1], [0.2]], [[0.5]]),
    ],
    ids=repr,
)
def test_an_optimizer_that_stumbles_leaves_the_study_usable(stumble: BaseException | list[list[float]]) -> None:
    """Ctrl-C in the seconds of an ask is daily life; the ask must not stay open for ever."""
    study = Study(StudySpec(SPACE, start=({"x": 0.5},)), Stumbling(stumble, [[0.75]]))
    study.tell(study.ask(), 1.0)
    before = state_of(study)
    with pytest.raises(type(stumble) if isinstance(stumble, BaseException) else InvalidTransitionError):
        study.ask()
    assert state_of(study) == before
    assert study.ask().configuration == {"x": 0.75}


def test_an_optimizer_that_finds_nothing_more_ends_the_study() -> None:
    """A space may be used up before its size says so."""
    study = Study(StudySpec(SPACE, start=({"x": 0.5},)), Stumbling(SpaceExhaustedError("nothing is left")))
    study.tell(study.ask(), 1.0)
    with pytest.raises(SpaceExhaustedError):
        study.ask()
    assert (study.state, study.reason) == ("finished", "space_exhausted")
