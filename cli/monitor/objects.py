"""Devices, progress and trials, as single messages tell of them; what is missing or of the wrong type is not told."""

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
    whole_of,
)


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
    at_chance: bool
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
            at_chance=body.get("at_chance") is True,
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
        """Its state in the word that says most: the failure's class, `at_chance`, `done`, `running`, …"""
        if self.at_chance:
            return "at_chance"
        return self.failure or {"complete": "done"}.get(self.state, self.state)
