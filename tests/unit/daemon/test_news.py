"""What is told of an event."""

from cnnbo.daemon.news import news
from cnnbo.scheduler.events import StudyArchived, StudyCancelled, TrialFailed, TrialsRequested, TrialStarted
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
