"""One evaluation of one configuration, the attempts at it, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.space import Configuration, Point

MAX_LOST_ATTEMPTS = 3
"""So many attempts may be lost to machine faults before a trial is given up."""


class TrialState(StrEnum):
    """`pending → running → complete | failed | cancelled`; a lost attempt or the user's retry leads back to pending."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens to the trial, unless the user wants it to run again."""
        return self in (TrialState.COMPLETE, TrialState.FAILED, TrialState.CANCELLED)


class Failure(StrEnum):
    """Why an attempt yielded no value."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    DEVICE_LOST = "device_lost"
    INTERRUPTED = "interrupted"

    @property
    def is_retried(self) -> bool:
        """Whether the machine was at fault: such a failure says nothing about the configuration."""
        return self in (Failure.DEVICE_LOST, Failure.INTERRUPTED)


COMPLETE = "complete"
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a trial's command on one device.

    Attributes:
        n: number of the attempt, from 1.
        device: UUID of the device.
        started: seconds since the epoch.
        ended: seconds since the epoch, None while it runs.
        outcome: `complete`, `cancelled` or a failure class; None while it runs.
        is_lost: whether it counts towards `MAX_LOST_ATTEMPTS`.
        token: random text that every process of the attempt carries in its environment.
        resumed: whether it went on from a checkpoint, as it said at its end.
        energy_j: what its device used meanwhile, in joules; None while it runs, and where it isn't measured.
        opened_test_set: whether it opened the test set; known at its end.
    """

    n: int
    device: str
    started: float
    ended: float | None = None
    outcome: str | None = None
    is_lost: bool = False
    token: str = ""
    resumed: bool = False
    energy_j: float | None = None
    opened_test_set: bool = False

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.ended is None else max(0.0, self.ended - self.started)


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of one configuration.

    Attributes:
        id: counts from 1 within the study.
        configuration: the values a human reads.
        point: the same, encoded: unit cube, length D, kept bit for bit.
        source: where the point came from.
        state: see `TrialState`.
        value: the metric as reported, in the user's direction, finite; set if and only if COMPLETE.
        chance: the best value that luck explains, in the user's direction, finite; None if nobody said.
        at_chance: whether the value is no better than that; only a COMPLETE trial is.
        failure: why it failed; set if and only if FAILED.
        message: a sentence about the last end of an attempt, for people.
        metrics: further figures that the script reported with its end.
        attempts: all attempts, oldest first; the last one runs if and only if RUNNING.
        ask: the ask that proposed it; None for a start configuration.
        note: why the point is a fallback, or None.
        earlier_attempts: how many of the attempts were made before the user's last retry; the first ones.
        is_braked: whether it crashed like those that paused the study: the script was broken, not its configuration.
    """

    id: int
    configuration: Configuration
    point: Point
    source: Source
    state: TrialState = TrialState.PENDING
    value: float | None = None
    failure: Failure | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    ask: int | None = None
    note: str | None = None
    earlier_attempts: int = 0
    chance: float | None = None
    at_chance: bool = False
    is_braked: bool = False

    def __post_init__(self) -> None:
        if (self.value is not None) != (self.state is TrialState.COMPLETE):
            raise ValueError(f"{self.state} trial with value {self.value}")
        if (self.failure is not None) != (self.state is TrialState.FAILED):
            raise ValueError(f"{self.state} trial with failure {self.failure}")
        if self.at_chance and (self.chance is None or self.value is None):
            raise ValueError(f"a trial at chance with value {self.value} and chance {self.chance}")
        if self.is_braked and self.failure is not Failure.CRASHED:
            raise ValueError(f"{self.state} trial that crashed with its study")

    @property
    def lost_attempts(self) -> int:
        """How many attempts the machine lost since the user's last retry: a mended machine deserves a fair chance."""
        return sum(attempt.is_lost for attempt in self.attempts[self.earlier_attempts :])

    @property
    def duration_s(self) -> float | None:
        """Seconds of the last attempt; None while it runs or before it started."""
        return self.attempts[-1].duration_s if self.attempts else None

    @property
    def energy_j(self) -> float | None:
        """Joules of all its attempts, as far as they were measured; None where none was."""
        measured = [attempt.energy_j for attempt in self.attempts if attempt.energy_j is not None]
        return sum(measured) if measured else None

    @property
    def resumed(self) -> bool:
        """Whether the last attempt went on from a checkpoint: then its seconds are not those of the whole training."""
        return bool(self.attempts) and self.attempts[-1].resumed

    @property
    def is_evidence(self) -> bool:
        """Whether the trial failed because of its configuration, which the optimizer should learn."""
        return self.failure is not None and not self.failure.is_retried and not self.is_braked

    def withdrawn(self) -> "Trial":
        """This trial with nothing known of how it ended, waiting to run again; its attempts stay for the record."""
        return replace(
            self,
            state=TrialState.PENDING,
            value=None,
            chance=None,
            at_chance=False,
            failure=None,
            message="",
            metrics={},
            earlier_attempts=len(self.attempts),
            is_braked=False,
        )
