"""What an event of a study is told as: entries of the event topic, and the retained topics that it changed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, assert_never

from cnnbo.daemon import messages
from cnnbo.daemon.sinks.base import Message
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    DevicesLimited,
    Event,
    TrialsRetried,
)
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure, Trial, TrialState

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import StudyEventName, TrialEvent, TrialEventName

_STUDY_NAMES: Final[Mapping[StudyState, "StudyEventName"]] = {
    StudyState.RUNNING: "study_running",
    StudyState.PAUSED: "study_paused",
    StudyState.FINISHED: "study_finished",
    StudyState.FAILED: "study_failed",
    StudyState.CANCELLED: "study_cancelled",
}
_TRIAL_NAMES: Final[Mapping[TrialState, "TrialEventName"]] = {
    TrialState.RUNNING: "trial_started",
    TrialState.COMPLETE: "trial_complete",
    TrialState.FAILED: "trial_failed",
    TrialState.CANCELLED: "trial_cancelled",
}
_LOST_NAMES: Final[Mapping[str | None, "TrialEventName"]] = {
    Failure.DEVICE_LOST: "trial_device_lost",
    Failure.INTERRUPTED: "trial_interrupted",
}


def news(before: Study, after: Study, event: Event) -> list[Message]:
    """What an event changed.

    What happened comes first, then where things stand: whoever waits for a study to end has heard of its last trial.
    """
    known = {trial.id: trial for trial in before.trials}
    changed = [trial for trial in after.trials if known.get(trial.id) is not trial]
    moved = [trial for trial in changed if trial.attempts and _has_moved(known.get(trial.id), trial)]
    told = [messages.event_message(_trial_news(after, trial, _name(trial, event))) for trial in moved]
    if before.state is not after.state or before.is_archived is not after.is_archived:
        name: StudyEventName = "study_archived" if after.is_archived else _STUDY_NAMES[after.state]
        told.append(messages.event_message({"event": name, "study": after.name, "reason": after.reason}))
    if before.is_archived:  # it has no topics, though its last trials may still be ending
        return told
    retained = messages.cleared(after) if after.is_archived else messages.retained(after, changed, event.at)
    return told + retained


def device_news(event: DeviceEvent) -> Message:
    """What is told of an event of a device, beside its own topic."""
    reason = event.reason or None
    match event:
        case DeviceQuarantined():
            return messages.event_message(
                {"event": "device_quarantined", "device": event.device, "reason": reason, "xid": event.xid}
            )
        case DeviceDrained(device=device):
            return messages.event_message({"event": "device_drained", "device": device, "reason": reason, "xid": None})
        case DeviceReturned(device=device):
            return messages.event_message({"event": "device_returned", "device": device, "reason": reason, "xid": None})
        case DevicesLimited():
            return messages.event_message({"event": "devices_limited", "devices": event.max_devices, "reason": reason})
        case _ as unreachable:
            assert_never(unreachable)


def _has_moved(before: Trial | None, after: Trial) -> bool:
    """Whether something happened to the trial itself; to others it may only be known better what their end meant."""
    return before is None or (before.state, before.attempts) != (after.state, after.attempts)


def _name(trial: Trial, event: Event) -> "TrialEventName":
    if isinstance(event, TrialsRetried):
        return "trial_retried"
    if trial.state is TrialState.PENDING:
        return _LOST_NAMES[trial.attempts[-1].outcome]  # the trial waits again
    return _TRIAL_NAMES[trial.state]


def _trial_news(study: Study, trial: Trial, name: "TrialEventName") -> "TrialEvent":
    best = study.incumbent
    return {
        "event": name,
        "study": study.name,
        "trial": trial.id,
        "attempt": len(trial.attempts),
        "device": trial.attempts[-1].device,
        "value": trial.value,
        "at_chance": trial.at_chance,
        "failure": trial.failure,
        "message": trial.message or None,
        "source": trial.source,
        "note": trial.note,
        "duration_s": trial.duration_s,
        "best_trial": None if best is None else best.id,
        "best_value": None if best is None else best.value,
        "configuration": dict(trial.configuration),
    }
