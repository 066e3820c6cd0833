"""What an event of a study is told as: entries of the event topic, and the retained topics that it changed."""

from cnnbo.daemon import messages
from cnnbo.daemon.sinks.base import Message
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    Event,
    TrialsRetried,
)
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial, TrialState


def news(before: Study, after: Study, event: Event) -> list[Message]:
    """What an event changed.

    What happened comes first, then where things stand: whoever waits for a study to end has heard of its last trial.
    """
    known = {trial.id: trial for trial in before.trials}
    changed = [trial for trial in after.trials if known.get(trial.id) is not trial]
    told = [
        messages.event_message(f"trial_{_verb(trial, event)}", _trial_news(after, trial))
        for trial in changed
        if trial.attempts
    ]
    if before.state is not after.state or before.is_archived is not after.is_archived:
        kind = "archived" if after.is_archived else str(after.state)
        told.append(messages.event_message(f"study_{kind}", {"study": after.name, "reason": after.reason}))
    retained = messages.cleared(after) if after.is_archived else messages.retained(after, changed, event.at)
    return told + retained


def device_news(event: DeviceEvent) -> Message:
    """What is told of an event of a device, beside its own topic."""
    kind = {DeviceQuarantined: "quarantined", DeviceDrained: "drained", DeviceReturned: "returned"}[type(event)]
    xid = event.xid if isinstance(event, DeviceQuarantined) else None
    return messages.event_message(
        f"device_{kind}", {"device": event.device, "reason": event.reason or None, "xid": xid}
    )


def _verb(trial: Trial, event: Event) -> str:
    if isinstance(event, TrialsRetried):
        return "retried"
    if trial.state is TrialState.PENDING:
        return str(trial.attempts[-1].outcome)  # an attempt was lost, the trial waits again
    return {TrialState.RUNNING: "started"}.get(trial.state, str(trial.state))


def _trial_news(study: Study, trial: Trial) -> dict[str, object]:
    best = study.incumbent
    return {
        "study": study.name,
        "trial": trial.id,
        "attempt": len(trial.attempts),
        "device": trial.attempts[-1].device if trial.attempts else None,
        "value": trial.value,
        "failure": None if trial.failure is None else str(trial.failure),
        "message": trial.message or None,
        "source": str(trial.source),
        "note": trial.note,
        "duration_s": trial.duration_s,
        "best_trial": None if best is None else best.id,
        "best_value": None if best is None else best.value,
        "configuration": dict(trial.configuration),
    }
