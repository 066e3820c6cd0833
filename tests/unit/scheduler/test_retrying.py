"""Retries: what ended trials came to is withdrawn, and they run again."""

from dataclasses import replace

import pytest
from tests.unit.scheduler.test_study import SPACE, Script

from cnnbo.scheduler.allocator import StartTrial, allocate
from cnnbo.scheduler.errors import InvalidTransitionError, RequestError
from cnnbo.scheduler.events import (
    AskOptimizer,
    BudgetReached,
    PointsSuggested,
    StudyArchived,
    StudyCancelled,
    StudyPaused,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialsRetried,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import IntParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure, Trial, TrialState

SAID = {"best_mean": -0.9, "noise_sd": 0.1, "expected_improvement": 0.01, "feasible_probability": 1.0}


class Retrying(Script):
    """A script that retries, and crashes."""

    def retry(self, *trials: int) -> None:
        assert self.feed(TrialsRetried(self.clock, trials)) == []

    def crash(self, point: float, message: str = "No module named 'torch'") -> int:
        [trial] = self.propose(point)
        self.start(trial)
        self.fail(trial, Failure.CRASHED, message)
        return trial

    def ask_surrogate(self, point: float, hint: bytes | None) -> int:
        """A trial that a surrogate proposed from all that is known; returns its id."""
        [command] = self.feed(TrialsRequested(self.clock, 1))
        assert isinstance(command, AskOptimizer)
        basis = self.study.basis()
        self.feed(
            PointsSuggested(
                self.clock, command.ask, ((point,),), Source.SURROGATE, basis.observed, basis.failed, basis.pending,
                insight=SAID, hint_in=self.study.hint, hint=hint,
            )
        )  # fmt: skip
        return len(self.study.trials)


@pytest.fixture
def script() -> Retrying:
    return Retrying(StudySpec(SPACE, evaluations=4))


def known(study: Study) -> object:
    """All that an optimizer is handed."""
    history = study.history()
    told = (history.observed, history.objectives, history.failed, history.pending, history.excluded)
    return *(points.tolist() for points in told), history.hint


def same(trial: Trial) -> object:
    """What a retry must never change."""
    return trial.id, trial.configuration, trial.point, trial.source, trial.ask, trial.note


def test_three_equal_crashes_run_again_and_the_study_goes_on() -> None:
    """What people type after mending their environment: nothing of the crashes is left but their attempts."""
    script = Retrying(StudySpec(SPACE, evaluations=10))
    trials = [script.crash(point) for point in (0.1, 0.2, 0.3)]
    before = [same(script.study.trial(trial)) for trial in trials]
    assert (script.study.state, script.study.reason, script.study.finished) == ("paused", "crashes", 3)
    script.retry(*trials)
    assert (script.study.state, script.study.reason, script.study.finished) == ("running", None, 0)
    assert [same(trial) for trial in script.study.trials] == before
    for trial in script.study.trials:
        assert (trial.state, trial.failure, trial.message, trial.metrics) == ("pending", None, "", {})
        assert [(attempt.n, attempt.outcome) for attempt in trial.attempts] == [(1, "crashed")]
    history = script.study.history()
    assert (history.failed.size, history.pending.tolist()) == (0, [[0.1], [0.2], [0.3]])
    script.start(trials[0])
    script.complete(trials[0], 0.5)
    assert [attempt.outcome for attempt in script.study.trial(trials[0]).attempts] == ["crashed", "complete"]


def test_equal_crashes_are_counted_anew() -> None:
    """Two crashes from before the cure and one from after it are no row of three."""
    script = Retrying(StudySpec(SPACE, evaluations=10))
    trials = [script.crash(point) for point in (0.1, 0.2)]
    script.retry(*trials)
    script.crash(0.3)
    for trial, state in zip(trials, ("running", "paused"), strict=True):
        script.start(trial)
        script.fail(trial, Failure.CRASHED, "No module named 'torch'")
        assert script.study.state == state


def test_the_next_ask_is_as_if_the_observation_had_never_been(script: Retrying) -> None:
    """A value measured on broken data must not steer the search, not even through an earlier fit."""
    twin = Retrying(script.study.spec)
    for each in (script, twin):
        each.run(0.1, 0.5)
        each.propose(0.2)
    script.start(2)
    script.complete(2, 99.0)
    script.ask_surrogate(0.3, b"fitted to 99")
    twin.ask_surrogate(0.3, None)
    script.retry(2)
    assert known(script.study) == known(twin.study)
    assert script.study.incumbent == script.study.trial(1)


def test_a_hint_that_never_saw_the_trial_is_kept(script: Retrying) -> None:
    """A fit costs time; one that owes nothing to what was withdrawn is as good as before."""
    script.run(0.1, 0.5)
    late = script.ask_surrogate(0.3, b"fitted to trial 1")
    script.start(late)
    script.complete(late, 0.7)
    script.retry(late)
    assert script.study.hint == b"fitted to trial 1"


def test_a_fallback_hands_the_hint_on_and_has_learned_nothing(script: Retrying) -> None:
    """A Sobol point in place of a proposal comes with the old hint, whose fit knew nothing of later trials."""
    script.run(0.1, 0.5)
    script.ask_surrogate(0.2, b"fitted to trial 1")
    script.start(2)
    script.complete(2, 0.7)
    script.ask_surrogate(0.3, b"fitted to trial 1")
    script.retry(2)
    assert script.study.hint == b"fitted to trial 1"


def test_an_answer_on_its_way_is_superseded(script: Retrying) -> None:
    """It was computed from what is withdrawn now."""
    script.run(0.1, 0.5)
    [command] = script.feed(TrialsRequested(1.0, 1))
    assert isinstance(command, AskOptimizer)
    script.retry(1)
    with pytest.raises(InvalidTransitionError):
        script.feed(PointsSuggested(3.0, command.ask, ((0.5,),), Source.SURROGATE))
    assert script.study.requestable == 3


def test_advice_to_stop_does_not_rest_on_withdrawn_results() -> None:
    """Five asks promised little beside a value that is no longer believed."""
    script = Retrying(StudySpec(SPACE, evaluations=20))
    script.run(0.9, 99.0)
    for k in range(5):
        script.ask_surrogate((k + 1) / 10, None)
    assert script.study.insight is not None and script.study.insight.advises_stop
    script.retry(1)
    assert not script.study.insight.advises_stop and script.study.insight.best_mean == 0.9


def test_retried_trials_run_before_new_points_are_asked_for(script: Retrying) -> None:
    """They were promised first, and the next proposal had better know them."""
    script.run(0.1, 0.5)
    [waiting] = script.propose(0.2)
    script.retry(1)
    assert [trial.id for trial in script.study.ready] == [1, waiting]
    assert allocate(["gpu-a"], [script.study]) == [StartTrial("notebook", 1, "gpu-a")]


@pytest.mark.parametrize(("failure", "state"), [(None, "finished"), (Failure.DIVERGED, "failed")])
def test_an_ended_study_goes_on_and_ends_again(failure: Failure | None, state: str) -> None:
    """One bad value of eighty is measured again without asking for more evaluations."""
    script = Retrying(StudySpec(SPACE, evaluations=2))
    for point in (0.1, 0.2):
        [trial] = script.propose(point)
        script.start(trial)
        script.complete(trial, point) if failure is None else script.fail(trial, failure)
    assert script.study.state == state
    script.retry(2)
    assert (script.study.state, script.study.reason, script.study.ended_at) == ("running", None, None)
    assert (script.study.finished, script.study.requestable) == (1, 0)
    script.start(2)
    script.complete(2, 0.9)
    assert (script.study.state, script.study.reason) == ("finished", "evaluations")


def test_a_space_that_is_used_up_waits_for_the_retried_trial() -> None:
    """There is nothing left to propose, but something to run."""
    script = Retrying(StudySpec(SearchSpace((IntParameter("n", 1, 2),)), evaluations=80))
    script.run(0.25, 1.0)
    script.run(0.75, 2.0)
    assert script.study.reason == "space_exhausted"
    script.retry(2)
    assert (script.study.state, script.study.requestable) == ("running", 0)
    script.start(2)
    script.complete(2, 3.0)
    assert (script.study.state, script.study.reason) == ("finished", "space_exhausted")


def test_a_users_pause_stays(script: Retrying) -> None:
    """Whoever paused for the day wants nothing to start; the trials wait until `resume`."""
    script.run(0.1, 0.5)
    script.feed(StudyPaused(2.0))
    script.retry(1)
    assert (script.study.state, script.study.reason, script.study.trial(1).state) == ("paused", "user", "pending")


def test_a_trial_may_lose_three_attempts_again_after_a_retry(script: Retrying) -> None:
    """The machine was mended: what it lost before must not be held against the trial."""
    [trial] = script.propose(0.1)
    for _ in range(2):
        for n in range(3):
            assert script.study.trial(trial).lost_attempts == n
            script.start(trial)
            script.fail(trial, Failure.INTERRUPTED)
        assert script.study.trial(trial).state is TrialState.FAILED
        script.retry(trial)
    assert (len(script.study.trial(trial).attempts), script.study.trial(trial).lost_attempts) == (6, 0)


@pytest.mark.parametrize("failure", list(Failure))
def test_a_trial_of_any_failure_class_can_be_retried(failure: Failure, script: Retrying) -> None:
    """A timeout on a busy box says as little as a crash."""
    [trial] = script.propose(0.1)
    for _ in range(3 if failure.is_retried else 1):
        script.start(trial)
        script.fail(trial, failure)
    assert script.study.trial(trial).failure is failure
    script.retry(trial)
    assert script.study.trial(trial).state is TrialState.PENDING


def test_what_has_not_ended_is_refused_with_all_reasons_at_once(script: Retrying) -> None:
    """And nothing is withdrawn: half an order would be the worst of all."""
    script.run(0.1, 0.5)
    [running, waiting] = script.propose(0.2, 0.3)
    script.start(running)
    before = script.study.trials
    with pytest.raises(RequestError, match=r"trial 2 is running.*; trial 3 waits to run already; nothing was retried"):
        script.retry(1, running, waiting)
    with pytest.raises(RequestError, match="has no trial 9; it has 3"):
        script.retry(1, 9)
    assert script.study.trials == before


@pytest.mark.parametrize("trials", [(), (1, 1)])
def test_a_retry_of_nothing_or_twice_the_same_is_a_mistake_of_the_caller(
    trials: tuple[int, ...], script: Retrying
) -> None:
    """The journal holds no event that means nothing."""
    script.run(0.1, 0.5)
    with pytest.raises(InvalidTransitionError):
        script.retry(*trials)


def test_a_study_that_is_over_for_good_is_refused_with_the_command(script: Retrying) -> None:
    """Cancelled is cancelled; the name is free after `delete`."""
    script.run(0.1, 0.5)
    script.propose(0.2)
    script.feed(StudyCancelled(2.0))
    for trial in (1, 2):
        with pytest.raises(RequestError, match=r"is cancelled.* cnnbo delete notebook"):
            script.retry(trial)
    script.feed(StudyArchived(3.0))
    with pytest.raises(RequestError, match=r"is archived.* cnnbo delete notebook"):
        script.retry(1)


def test_a_spent_budget_refuses_and_keeps_the_result(script: Retrying) -> None:
    """Withdrawn and never run again, a value would be lost."""
    script.run(0.1, 0.5)
    script.feed(BudgetReached(2.0, "wall_clock"))
    with pytest.raises(RequestError, match=r"raise budget\.wall_clock"):
        script.retry(1)
    assert script.study.trial(1).value == 0.5


def test_a_replay_knows_retries(script: Retrying) -> None:
    """The journal is the truth: what was withdrawn stays withdrawn after a restart."""
    script.run(0.1, 0.5)
    script.crash(0.2)
    script.ask_surrogate(0.3, b"hint")
    script.retry(1, 2)
    script.start(1)
    twin = Study.replay(script.events)
    assert twin.trials == script.study.trials
    assert (twin.state, twin.hint, known(twin)) == ("running", None, known(script.study))


def test_a_copy_is_untouched_by_a_retry(script: Retrying) -> None:
    """The daemon tries an event on a copy before it is journalled."""
    script.run(0.1, 0.5)
    script.ask_surrogate(0.3, b"hint")
    twin = script.study.copy()
    script.retry(1)
    assert (twin.trial(1).value, twin.hint) == (0.5, b"hint")
    twin.handle(TrialsRetried(9.0, (1,)))
    assert known(twin) == known(script.study)


def test_an_ask_from_before_a_retry_is_repeated_on_the_study_of_then(script: Retrying) -> None:
    """Its value is another one now, or none: silently taking that would repeat something that never was."""
    script.run(0.1, 0.5)
    script.ask_surrogate(0.3, None)
    basis, asked = script.study.basis(), len(script.events)
    script.retry(1)
    with pytest.raises(RequestError, match=r"trial 1 .* was withdrawn"):
        script.study.history(basis)
    assert Study.replay(script.events[:asked]).history(basis).objectives.tolist() == [[-0.5]]


def test_a_late_word_of_the_withdrawn_attempt_is_refused(script: Retrying) -> None:
    """An end is taken once; a second one must not fall on the attempt of the new round."""
    trial = script.run(0.1, 0.5)
    script.retry(trial)
    script.start(trial)
    with pytest.raises(InvalidTransitionError, match="TrialCompleted, TrialsRetried, TrialStarted"):
        script.feed(TrialFailed(9.0, trial, 1, Failure.TIMEOUT))
    script.feed(TrialCompleted(9.0, trial, 2, 0.6))


def test_a_notebook_is_handed_a_retried_trial_first() -> None:
    """The same study class serves without a daemon."""
    spec = StudySpec(SPACE, start=({"x": 0.5}, {"x": 0.25}))
    study = Study(replace(spec, evaluations=2))
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), failure="crashed")
    study.handle(TrialsRetried(0.0, (2,)))
    assert study.state is StudyState.RUNNING
    study.tell(study.ask(), 0.7)
    assert [trial.value for trial in study.trials] == [1.0, 0.7]
