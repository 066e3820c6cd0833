"""The objects that people script against, made from a study: `show --json`, topics, and the events people read.

DESIGN: times are RFC 3339 UTC, unknown is null, ids count from 1; keys are only ever added.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast, overload

from cnnbo.daemon.devices.base import Device, Sample
from cnnbo.daemon.executors.base import Progress
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.scheduler.advice import advice
from cnnbo.scheduler.budget import JOULES_PER_KWH, SECONDS_PER_HOUR, device_seconds, study_cost, study_energy
from cnnbo.scheduler.comparison import Members
from cnnbo.scheduler.fleet import DeviceState
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Attempt, Failure, Trial, TrialState

if TYPE_CHECKING:  # for mypy alone: pydantic, behind them, would cost the daemon a tenth of its start
    from cnnbo.daemon.api.objects import (
        AttemptObject,
        BestObject,
        ComparisonObject,
        DeviceObject,
        EventObject,
        InsightObject,
        Outcome,
        ProgressObject,
        ShowObject,
        StudyObject,
        TrialObject,
    )
    from cnnbo.daemon.executors.base import Phase

STUDY_SCHEMA = "cnnbo.study/1"
TRIAL_SCHEMA = "cnnbo.trial/1"
DEVICE_SCHEMA = "cnnbo.device/1"
PROGRESS_SCHEMA = "cnnbo.progress/1"
EVENT_SCHEMA = "cnnbo.event/1"
INFO_SCHEMA = "cnnbo.info/1"
RESPONSE_SCHEMA = "cnnbo.response/1"

RELEVANCES_TOLD = 20
"""Of the most relevant parameters the share is told: with 60 parameters a study's topic has to stay under 8 KiB."""


@overload
def rfc3339(at: float) -> str: ...
@overload
def rfc3339(at: float | None) -> str | None: ...
def rfc3339(at: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 UTC with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_json(value: object) -> bool:
    """Whether a scalar can stand in JSON: NaN and infinity can't."""
    return not isinstance(value, float) or math.isfinite(value)


def finite(value: float | None) -> float | None:
    """The number, or None where JSON could not hold it."""
    return value if value is not None and math.isfinite(value) else None


def eta_s(study: Study, now: float) -> float | None:
    """Seconds until the last evaluation, from the median trial and today's parallelism; None where unknown."""
    durations = [trial.duration_s for trial in study.trials if trial.state is TrialState.COMPLETE]
    known = [duration for duration in durations if duration is not None]
    if study.state.is_ended:
        return 0.0
    if not known or not study.running:
        return None
    median = statistics.median(known)
    waiting = study.spec.evaluations - study.finished - len(study.running)
    left = [max(0.0, median - (now - trial.attempts[-1].started)) for trial in study.running]
    return (max(0, waiting) * median + sum(left)) / len(study.running)


def attempt_object(attempt: Attempt) -> "AttemptObject":
    """One entry of a trial's `attempts`."""
    return {
        "n": attempt.n,
        "device": attempt.device,
        "started": rfc3339(attempt.started),
        "ended": rfc3339(attempt.ended),
        "outcome": cast("Outcome | None", attempt.outcome),
        "resumed": attempt.resumed,
        "energy_j": attempt.energy_j,
    }


def trial_object(study: Study, trial: Trial, now: float) -> "TrialObject":
    """The trial object: an entry of `show --json`'s `trials`, and the body of the trial's topic."""
    price = study.spec.budget.price_per_device_hour
    cost = device_seconds(trial.attempts, now) / SECONDS_PER_HOUR * price if price > 0 else None
    return {
        "id": trial.id,
        "state": trial.state,
        "configuration": dict(trial.configuration),
        "value": trial.value,
        "chance": trial.chance,
        "at_chance": trial.at_chance,
        "failure": trial.failure,
        "source": trial.source,
        "duration_s": trial.duration_s,
        "energy_j": trial.energy_j,
        "cost": cost,
        "attempts": [attempt_object(attempt) for attempt in trial.attempts],
        "message": trial.message or None,
        "note": trial.note,
        "metrics": {name: finite(value) for name, value in trial.metrics.items()},
        "resumed": trial.resumed,
        "braked": trial.is_braked,
    }


def study_object(study: Study, now: float) -> "StudyObject":
    """The `show --json` object without `trials`: the body of the study's topic.

    It stays under 8 KiB with 60 parameters of 30 letters each; `space` and the best configuration grow with them.
    Figures that run with the clock are those of the last event, so that topic and command agree at rest.
    """
    best = study.incumbent
    spec = study.spec
    energy_j = study_energy(study)
    counts = {state: sum(trial.state is state for trial in study.trials) for state in TrialState}
    return {
        "name": study.name,
        "state": study.state,
        "reason": study.reason,
        "archived": study.is_archived,
        "evaluations": spec.evaluations,
        "finished": study.finished,
        "running": counts[TrialState.RUNNING],
        "failed": counts[TrialState.FAILED],
        "at_chance": study.at_chance,
        "cancelled": counts[TrialState.CANCELLED],
        "best": None if best is None else best_object(best),
        "best_trial": None if best is None else best.id,
        "best_value": None if best is None else best.value,
        "energy_kwh": None if energy_j is None else energy_j / JOULES_PER_KWH,
        "cost": study_cost(study, now),
        "eta_s": eta_s(study, now),
        "metric": spec.metric,
        "direction": spec.direction,
        "optimizer": spec.optimizer,
        "model": spec.model,
        "seed": spec.seed,
        "space": list(spec.space.names),
        "owner": spec.origin.owner,
        "python": None if spec.model is not None else spec.origin.python,
        "started": rfc3339(study.created_at),
        "ended": rfc3339(study.ended_at),
        "spent_s": busy_seconds(study, now),
        "spent_wall_clock_s": None if spec.budget.wall_clock_s is None else study.wall_clock_s,
        "budget_wall_clock_s": spec.budget.wall_clock_s,
        "budget_cost": spec.budget.cost,
        "budget_energy_kwh": spec.budget.energy_kwh,
        "failures": failure_counts(study),
        "test_set_openings": study.test_set_openings,
        "insight": insight_object(study),
        "comparison": None if spec.part is None else spec.part.plan.name,
        "advice": advice(study),
        "undecided": list(study.undecided),
    }


def best_object(trial: Trial) -> "BestObject":
    """What `best NAME --json` prints of the best completed trial."""
    assert trial.value is not None  # it is complete
    return {"trial": trial.id, "value": trial.value, "configuration": dict(trial.configuration)}


def insight_object(study: Study) -> "InsightObject | None":
    """What the surrogate believed at its last ask, in the user's direction; None before the first.

    `stop_advised` is about a study that goes on: a paused or ended one is never told to stop.
    """
    insight = study.insight
    if insight is None:
        return None
    shares = itertools.islice(insight.relevance.items(), RELEVANCES_TOLD)
    return {
        "relevance": {name: round(share, 4) for name, share in shares},
        "best_mean": insight.best_mean,
        "best_sd": insight.best_sd,
        "noise_sd": insight.noise_sd,
        "expected_improvement": insight.expected_improvement,
        "feasible_probability": insight.feasible_probability,
        "expected_gain": insight.expected_gain,
        "observations": insight.observations,
        "observed": insight.observed,
        "asks_below_noise": insight.asks_below_noise,
        "stop_advised": insight.advises_stop and study.state is StudyState.RUNNING,
    }


def failure_counts(study: Study) -> dict[Failure, int]:
    """How many trials failed, by class; only classes that occurred."""
    return dict(Counter(trial.failure for trial in study.trials if trial.failure is not None))


def busy_seconds(study: Study, now: float) -> float:
    """Seconds in which at least one trial of the study ran."""
    attempts = [attempt for trial in study.trials for attempt in trial.attempts]
    spans = sorted((a.started, now if a.ended is None else a.ended) for a in attempts)
    total, reached = 0.0, -math.inf
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def show_object(study: Study, now: float) -> "ShowObject":
    """What `show NAME --json` prints."""
    return {**study_object(study, now), "trials": [trial_object(study, trial, now) for trial in study.trials]}


def comparison_object(members: Members, now: float) -> "ComparisonObject":
    """What `show NAME --json` prints of a comparison; `members` holds one study at least."""
    plan = members.plan
    assert plan is not None
    studies = [study_object(study, now if study.ended_at is None else study.ended_at) for study in members.studies]
    energies = [study["energy_kwh"] for study in studies if study["energy_kwh"] is not None]
    costs = [study["cost"] for study in studies if study["cost"] is not None]
    return {
        "comparison": plan.name,
        "state": members.state,
        "methods": list(plan.methods),
        "runs": plan.runs,
        "evaluations": sum(study["evaluations"] for study in studies),
        "finished": sum(study["finished"] for study in studies),
        "running": sum(study["running"] for study in studies),
        "failed": sum(study["failed"] for study in studies),
        "at_chance": sum(study.at_chance for study in members.studies),
        "cancelled": sum(study["cancelled"] for study in studies),
        "energy_kwh": sum(energies) if energies else None,
        "cost": sum(costs) if costs else None,
        "test_set_openings": sum(study.test_set_openings for study in members.studies),
        "studies": studies,
    }


def device_object(
    device: Device,
    sample: Sample,
    state: DeviceState,
    reason: str | None,
    occupant: tuple[str, int] | None,
    since: float | None = None,
    phase: "Phase | None" = None,
) -> "DeviceObject":
    """One entry of `devices --json`, and the body of the device's topic.

    `since` is when the daemon first saw the device in this state, in seconds since the epoch; `phase` what the trial on
    it is doing.
    """
    study, trial = occupant or (None, None)
    return {
        "uuid": device.uuid,
        "index": device.index,
        "name": device.name,
        "state": state,
        "reason": reason,
        "since": rfc3339(since),
        "memory_used_mib": finite(sample.memory_used_mib),
        "memory_total_mib": finite(sample.memory_total_mib),
        "utilisation_percent": finite(sample.utilisation_percent),
        "temperature_c": finite(sample.temperature_c),
        "power_w": finite(sample.power_w),
        "study": study,
        "trial": trial,
        "phase": phase,
    }


def progress_object(trial: int, device: str, progress: Progress) -> "ProgressObject":
    """The body of a trial's progress topic."""
    return {
        "trial": trial,
        "device": device,
        "step": progress.step,
        "steps": progress.steps,
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "metrics": {name: finite(value) for name, value in progress.metrics.items()},
    }


def retained(study: Study, trials: Iterable[Trial], now: float) -> list[Message]:
    """The retained messages of some trials of a study, and then of the study itself."""
    prefix = f"study/{study.name}"
    news = [
        Message(f"{prefix}/trial/{trial.id}", trial_object(study, trial, now), TRIAL_SCHEMA, Delivery.STATE)
        for trial in trials
    ]
    return [*news, Message(prefix, study_object(study, now), STUDY_SCHEMA, Delivery.STATE)]


def cleared(study: Study) -> list[Message]:
    """Messages that take a study off the broker."""
    trials = [Message(f"study/{study.name}/trial/{t.id}", None, TRIAL_SCHEMA, Delivery.STATE) for t in study.trials]
    return [*trials, Message(f"study/{study.name}", None, STUDY_SCHEMA, Delivery.STATE)]


def event_message(body: "EventObject") -> Message:
    """One entry of the event topic: `event` names what happened."""
    return Message("event", body, EVENT_SCHEMA, Delivery.EVENT)
