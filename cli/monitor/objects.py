"""What single messages tell, read into objects; a field that is missing or of the wrong type counts as not told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cnnbo.cli.monitor.fields import (
    Body,
    moment_of,
    number_of,
    numbers_of,
    object_of,
    objects_of,
    text_of,
    texts_of,
    whole_of,
)
from cnnbo.scheduler.insight import StudyInsight


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its topic tells; the fields are those of `cnnbo devices --json`.

    Attributes:
        since: when the daemon first saw it in this state, seconds since the epoch.
        told: when the daemon said this, seconds since the epoch.
        body: the message without its envelope.
    """

    uuid: str
    index: int | None
    name: str
    state: str
    reason: str | None
    memory_used_mib: float | None
    memory_total_mib: float | None
    utilisation_percent: float | None
    temperature_c: float | None
    power_w: float | None
    study: str | None
    trial: int | None
    phase: str | None
    since: float | None
    told: float
    body: Body

    @classmethod
    def read(cls, uuid: str, body: Body, told: float) -> Self:
        return cls(
            uuid=uuid,
            index=whole_of(body, "index"),
            name=text_of(body, "name") or uuid,
            state=text_of(body, "state") or "unknown",
            reason=text_of(body, "reason"),
            memory_used_mib=number_of(body, "memory_used_mib"),
            memory_total_mib=number_of(body, "memory_total_mib"),
            utilisation_percent=number_of(body, "utilisation_percent"),
            temperature_c=number_of(body, "temperature_c"),
            power_w=number_of(body, "power_w"),
            study=text_of(body, "study"),
            trial=whole_of(body, "trial"),
            phase=text_of(body, "phase"),
            since=moment_of(body, "since"),
            told=told,
            body=body,
        )

    @property
    def label(self) -> str:
        """What people call it: its index where it has one."""
        return self.uuid if self.index is None else str(self.index)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running trial says it has come.

    Attributes:
        step, steps, epoch, epochs: as reported, None where not.
        metrics: metric names with finite numbers.
        told: when, seconds since the epoch.
    """

    step: int | None
    steps: int | None
    epoch: int | None
    epochs: int | None
    metrics: Mapping[str, float]
    told: float

    @classmethod
    def read(cls, body: Body, told: float) -> Self:
        return cls(
            step=whole_of(body, "step"),
            steps=whole_of(body, "steps"),
            epoch=whole_of(body, "epoch"),
            epochs=whole_of(body, "epochs"),
            metrics=numbers_of(body, "metrics"),
            told=told,
        )

    @property
    def fraction(self) -> float | None:
        """Share of the work that is done, 0 to 1; by steps, else by epochs."""
        for done, total in ((self.step, self.steps), (self.epoch, self.epochs)):
            if done is not None and total:
                return min(1.0, max(0.0, done / total))
        return None

    def shown_metric(self, preferred: str | None) -> tuple[str, float] | None:
        """Name and value of the study's metric where it is reported, else of the first one; None without any."""
        name = preferred if preferred in self.metrics else next(iter(self.metrics), None)
        return None if name is None else (name, self.metrics[name])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a trial on a device; times in seconds since the epoch."""

    n: int | None
    device: str | None
    started: float | None
    ended: float | None
    outcome: str | None

    @classmethod
    def read(cls, body: Body) -> Self:
        return cls(
            n=whole_of(body, "n"),
            device=text_of(body, "device"),
            started=moment_of(body, "started"),
            ended=moment_of(body, "ended"),
            outcome=text_of(body, "outcome"),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as its topic tells; the fields are those of `cnnbo show --json`.

    Attributes:
        attempts: oldest first.
        body: the message without its envelope.
    """

    id: int
    state: str
    configuration: Mapping[str, object]
    value: float | None
    failure: str | None
    source: str | None
    duration_s: float | None
    energy_j: float | None
    cost: float | None
    message: str | None
    note: str | None
    attempts: tuple[Attempt, ...]
    body: Body

    @classmethod
    def read(cls, trial_id: int, body: Body) -> Self:
        return cls(
            id=trial_id,
            state=text_of(body, "state") or "unknown",
            configuration=object_of(body, "configuration"),
            value=number_of(body, "value"),
            failure=text_of(body, "failure"),
            source=text_of(body, "source"),
            duration_s=number_of(body, "duration_s"),
            energy_j=number_of(body, "energy_j"),
            cost=number_of(body, "cost"),
            message=text_of(body, "message"),
            note=text_of(body, "note"),
            attempts=tuple(map(Attempt.read, objects_of(body, "attempts"))),
            body=body,
        )

    @property
    def device(self) -> str | None:
        """Id of the device of the newest attempt."""
        return self.attempts[-1].device if self.attempts else None

    @property
    def started(self) -> float | None:
        """When the newest attempt began, seconds since the epoch."""
        return self.attempts[-1].started if self.attempts else None

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is to come of it, unless somebody withdraws its result."""
        return self.state not in ("running", "pending")

    @property
    def outcome(self) -> str:
        """Its state in the word that says most: the failure's class, `done`, `running`, …"""
        return self.failure or {"complete": "done"}.get(self.state, self.state)


@dataclass(frozen=True, slots=True)
class Best:
    """The incumbent: which trial, its value, and its configuration."""

    trial: int | None
    value: float
    configuration: Mapping[str, object]

    @classmethod
    def read(cls, body: Body) -> Self | None:
        value = number_of(body, "value")
        return None if value is None else cls(whole_of(body, "trial"), value, object_of(body, "configuration"))


@dataclass(frozen=True, slots=True)
class Usage:
    """What of something was used, and the limit the study file sets, if any."""

    spent: float
    limit: float | None

    @classmethod
    def read(cls, body: Body, spent: str, limit: str) -> Self | None:
        used = number_of(body, spent)
        return None if used is None else cls(used, number_of(body, limit))


@dataclass(frozen=True, slots=True)
class Summary:
    """A study as its topic tells: the `show` object without trials, and what screens need beside it.

    Attributes:
        failures: how many trials failed, by class.
        wall_clock_s, energy_kwh, cost: what was used of the budget; None where that isn't counted.
        space: the parameters' names in their order; empty where not told.
        insight: what the surrogate believes, in the user's direction; None as long as there is none.
        is_stop_advised: whether the daemon hints that stopping is reasonable.
        told: when the daemon said so, seconds since the epoch.
        body: the message without its envelope.
    """

    state: str
    reason: str | None
    evaluations: int | None
    finished: int
    running: int
    failed: int
    failures: Mapping[str, float]
    best: Best | None
    wall_clock_s: Usage | None
    energy_kwh: Usage | None
    cost: Usage | None
    eta_s: float | None
    spent_s: float | None
    metric: str | None
    direction: str
    space: tuple[str, ...]
    insight: StudyInsight | None
    is_stop_advised: bool
    owner: str | None
    told: float
    body: Body

    @classmethod
    def read(cls, body: Body, told: float = 0.0) -> Self:
        insight = object_of(body, "insight")
        return cls(
            state=text_of(body, "state") or "unknown",
            reason=text_of(body, "reason"),
            evaluations=whole_of(body, "evaluations"),
            finished=whole_of(body, "finished") or 0,
            running=whole_of(body, "running") or 0,
            failed=whole_of(body, "failed") or 0,
            failures=numbers_of(body, "failures"),
            best=Best.read(object_of(body, "best")),
            wall_clock_s=Usage.read(body, "spent_wall_clock_s", "budget_wall_clock_s"),
            energy_kwh=Usage.read(body, "energy_kwh", "budget_energy_kwh"),
            cost=Usage.read(body, "cost", "budget_cost"),
            eta_s=number_of(body, "eta_s"),
            spent_s=number_of(body, "spent_s"),
            metric=text_of(body, "metric"),
            direction=text_of(body, "direction") or "maximize",
            space=texts_of(body, "space"),
            insight=StudyInsight.read(insight),
            is_stop_advised=insight.get("stop_advised") is True,
            owner=text_of(body, "owner"),
            told=told,
            body=body,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("running", "paused")
