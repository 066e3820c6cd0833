"""Equal crashes in a row: they pause a study, and are evidence of a broken script, not of bad configurations."""

import pytest
from tests.unit.scheduler.test_study import SPACE, Script

from cnnbo.scheduler.codec import decode_event, encode_event
from cnnbo.scheduler.crashes import crash_kind
from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.events import (
    AskOptimizer,
    PointsSuggested,
    StudyCancelled,
    StudyPaused,
    StudyResumed,
    TrialFailed,
    TrialsRequested,
    TrialsRetried,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.optimizers.registry import create_optimizer
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure

BROKEN = "No module named 'torch'"


class Braking(Script):
    """A script whose trials crash as the daemon tells it: with the kind of their message."""

    def begin(self, *points: float) -> list[int]:
        trials = self.propose(*points)
        for trial in trials:
            self.start(trial)
        return trials

    def crash(self, trial: int, message: str = BROKEN) -> None:
        attempt = len(self.study.trial(trial).attempts)
        self.feed(TrialFailed(self.clock, trial, attempt, Failure.CRASHED, message, kind=crash_kind(message)))

    def crash_all(self, *points: float) -> None:
        for trial in self.begin(*points):
            self.crash(trial)

    @property
    def evidence(self) -> tuple[list[list[float]], list[list[float]]]:
        """The points that an optimizer is told of as failed, and as never to be proposed again."""
        history = self.study.history()
        return history.failed.tolist(), history.excluded.tolist()

    @property
    def braked(self) -> list[int]:
        return [trial.id for trial in self.study.trials if trial.is_braked]


@pytest.fixture
def script() -> Braking:
    return Braking(StudySpec(SPACE, evaluations=20))


def test_crashes_that_pause_a_study_are_no_evidence(script: Braking) -> None:
    """The surrogate would avoid those places for good, though nothing is wrong with them."""
    script.crash_all(0.1, 0.2)
    assert script.evidence == ([[0.1], [0.2]], [])
    script.crash_all(0.3)
    assert (script.study.state, script.study.reason) == ("paused", "crashes")
    assert script.evidence == ([], [[0.1], [0.2], [0.3]])
    assert script.study.undecided == (1, 2, 3)
    assert script.study.finished == 3


def test_crashes_are_equal_but_for_numbers_and_quoted_values(script: Braking) -> None:
    """A script crashes at another address, in another trial's folder, for another key."""
    for k, trial in enumerate(script.begin(0.1, 0.2, 0.3), start=17):
        script.crash(trial, f"exit status 1: KeyError: 'width_{k}' in /data/trial_{k} at 0x7f{k}")
    assert script.study.reason == "crashes"


def test_a_failure_in_between_breaks_the_row_and_a_machine_fault_does_not(script: Braking) -> None:
    """Only what a script did says whether it is broken."""
    trials = script.begin(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    script.crash(trials[0])
    script.fail(trials[1], Failure.DIVERGED)
    script.crash(trials[2])
    script.fail(trials[3], Failure.DEVICE_LOST)
    script.crash(trials[4])
    assert script.study.state is StudyState.RUNNING
    script.crash(trials[5])
    assert script.study.undecided == (trials[2], trials[4], trials[5])
    assert script.evidence[0] == [[0.1], [0.2]]


def test_equal_crashes_that_were_on_their_way_count_with_the_others(script: Braking) -> None:
    """With eight devices five more come after the pause; a different end among them is what it is."""
    trials = script.begin(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    for trial in trials[:3]:
        script.crash(trial)
    script.crash(trials[3], "KeyError: 'momentum'")
    script.complete(trials[4], 0.9)
    script.crash(trials[5])
    assert script.study.undecided == (1, 2, 3, 6)
    assert script.evidence == ([[0.4]], [[0.1], [0.2], [0.3], [0.6]])


def test_a_crash_of_the_old_script_is_none_of_the_mended_one(script: Braking) -> None:
    """Whoever is quick mends and retries while a trial of the broken script still runs."""
    trials = script.begin(0.1, 0.2, 0.3, 0.4)
    for trial in trials[:3]:
        script.crash(trial)
    script.feed(TrialsRetried(9.0, (1, 2, 3)))
    script.crash(trials[3])
    assert (script.study.state, script.study.undecided, script.evidence[0]) == ("running", (4,), [])
    script.feed(TrialsRetried(9.0, (4,)))
    script.start(4)
    script.crash(4)
    assert script.evidence[0] == [[0.4]]  # the mended script's


def test_an_attempt_that_was_lost_meanwhile_runs_the_mended_script(script: Braking) -> None:
    """Its next attempt is no crash on its way any more."""
    trials = script.begin(0.1, 0.2, 0.3, 0.4)
    for trial in trials[:3]:
        script.crash(trial)
    script.fail(trials[3], Failure.INTERRUPTED)
    script.feed(TrialsRetried(9.0, (1, 2, 3)))
    script.start(4)
    script.crash(4)
    assert (script.study.undecided, script.evidence[0]) == ((), [[0.4]])


def test_resumed_it_goes_on_without_them(script: Braking) -> None:
    """The user decides, so that nothing is undecided any more; the places stay as unknown as they are."""
    script.crash_all(0.1, 0.2, 0.3)
    script.feed(StudyResumed(9.0))
    assert (script.study.state, script.study.undecided) == ("running", ())
    assert script.evidence == ([], [[0.1], [0.2], [0.3]])
    script.crash_all(0.4, 0.5, 0.6)
    assert (script.study.reason, script.study.undecided) == ("crashes", (4, 5, 6))
    assert script.evidence[0] == []


def test_retried_they_are_trials_like_any_other(script: Braking) -> None:
    """Also what crashes in another way then is told to the optimizer; and a second brake works like the first."""
    script.crash_all(0.1, 0.2, 0.3)
    script.feed(TrialsRetried(9.0, script.study.undecided))
    assert (script.study.state, script.study.undecided, script.braked) == ("running", (), [])
    script.start(1)
    script.complete(1, 0.5)
    script.start(2)
    script.crash(2, "ValueError: 3 is odd")
    assert script.evidence == ([[0.2]], [])
    script.start(3)
    script.crash(3)
    script.crash_all(0.4, 0.5)
    assert (script.study.reason, script.study.undecided) == ("crashes", (3, 4, 5))
    assert script.evidence == ([[0.2]], [[0.3], [0.4], [0.5]])


def test_equal_crashes_during_a_users_pause_leave_it_a_users_pause(script: Braking) -> None:
    """They say the same of the script; who paused it is not the question."""
    trials = script.begin(0.1, 0.2, 0.3)
    script.feed(StudyPaused(2.0))
    for trial in trials:
        script.crash(trial)
    assert (script.study.reason, script.study.undecided, script.evidence[0]) == ("user", (1, 2, 3), [])


def test_a_cancelled_study_brakes_no_more(script: Braking) -> None:
    """What still ends then ends as cancelled."""
    trials = script.begin(0.1, 0.2, 0.3)
    script.feed(StudyCancelled(2.0))
    for trial in trials:
        script.crash(trial)
    assert (script.study.state, script.study.undecided, script.braked) == ("cancelled", (), [])


@pytest.mark.parametrize(("failed", "kept"), [((1,), None), ((), b"fit")])
def test_a_fit_that_knew_the_crashes_is_dropped(failed: tuple[int, ...], kept: bytes | None, script: Braking) -> None:
    """The next ask would start from what they seemed to say."""
    script.crash_all(0.1)
    [command] = script.feed(TrialsRequested(1.0, 1))
    assert isinstance(command, AskOptimizer)
    script.feed(PointsSuggested(1.0, command.ask, ((0.2,),), Source.SURROGATE, failed=failed, hint=b"fit"))
    script.start(2)
    script.crash(2)
    script.crash_all(0.3)
    assert script.study.hint == kept


def test_a_journal_from_before_is_replayed_as_it_was(script: Braking) -> None:
    """It knows no kinds: there only the same words were equal, and what ran on then must run on in a replay."""
    for k, trial in enumerate(script.begin(0.1, 0.2, 0.3)):
        script.fail(trial, Failure.CRASHED, f"line {k}")
    script.run(0.4, 1.0)
    for trial in script.begin(0.5, 0.6, 0.7):
        script.fail(trial, Failure.CRASHED, "line 7")
    old = []
    for event in script.events:
        data = encode_event(event)
        data.pop("kind", None)
        old.append(decode_event(data))
    study = Study.replay(old)
    assert (study.reason, study.undecided) == ("crashes", (5, 6, 7))
    assert study.trials == script.study.trials


def test_a_replay_knows_what_is_undecided(script: Braking) -> None:
    """A daemon that was killed after the pause must not take the crashes for evidence."""
    script.crash_all(0.1, 0.2, 0.3)
    twin = Study.replay(script.events)
    assert (twin.undecided, twin.trials) == (script.study.undecided, script.study.trials)
    assert twin.history().excluded.tolist() == script.evidence[1]


def test_a_notebook_runs_them_again_or_goes_on_without_them() -> None:
    """The same sentence as everywhere, in the words of a notebook."""
    study = Study(StudySpec(SPACE, evaluations=20), create_optimizer("sobol", SPACE, seed=0))
    for _ in range(3):
        study.tell(study.ask(), failure="crashed")
    assert study.history().failed.size == 0
    again = r"held against no configuration; .* study\.handle\(TrialsRetried\(0\.0, \(1, 2, 3\)\)\)"
    with pytest.raises(RequestError, match=again):
        study.ask()
    study.handle(TrialsRetried(0.0, (1, 2, 3)))
    assert study.ask().id == 1
