"""What is told of an event."""

from cnnbo.daemon.news import news
from cnnbo.scheduler.events import (
    StudyArchived,
    StudyCancelled,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="digits", start=({"x": 0.5},))


def test_a_trial_that_ends_after_its_study_was_archived_touches_no_topic() -> None:
    """They are cleared already; a study of a thousand trials would clear them again for each of the last ones."""
    before = Study(SPEC)
    for event in (TrialsRequested(1.0, 1), TrialStarted(2.0, 1, 1, "cpu-0"), StudyCancelled(3.0), StudyArchived(4.0)):
        before.handle(event)
    after = before.copy()
    ended = TrialFailed(5.0, 1, 1, Failure.CRASHED, "killed")
    after.handle(ended)
    assert [message.topic for message in news(before, after, ended)] == ["event"]


def test_a_trial_at_chance_is_complete_and_says_so() -> None:
    """Whoever counts failures by their events must not count it, and whoever shows values must not praise it."""
    before = Study(SPEC)
    for event in (TrialsRequested(1.0, 1), TrialStarted(2.0, 1, 1, "cpu-0")):
        before.handle(event)
    after = before.copy()
    ended = TrialCompleted(5.0, 1, 1, 0.1, chance=0.2)
    after.handle(ended)
    told, trial, study = (message.body for message in news(before, after, ended))
    assert told is not None and trial is not None and study is not None
    assert told.items() >= {"event": "trial_complete", "value": 0.1, "at_chance": True, "failure": None}.items()
    assert trial.items() >= {"state": "complete", "value": 0.1, "chance": 0.2, "at_chance": True}.items()
    assert study.items() >= {"finished": 1, "failed": 0, "at_chance": 1, "failures": {}, "best_value": 0.1}.items()
