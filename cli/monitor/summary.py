"""A study, as its topic tells of it; what is missing or of the wrong type is not told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cnnbo.cli.monitor.fields import (
    Body,
    moment_of,
    number_of,
    numbered,
    numbers_of,
    object_of,
    text_of,
    texts_of,
    whole_of,
)
from cnnbo.scheduler.insight import StudyInsight


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
        failed: how many trials failed, those that are undecided apart.
        at_chance: how many complete trials are no better than chance.
        undecided: ids of the trials whose equal crashes are held against no configuration, until somebody decides.
        failures: how many trials failed, by class; with those that are undecided.
        time_s: seconds of the wall clock where the budget limits them, else those in which a trial ran.
        energy_kwh, cost: what was used of the budget; None where that isn't counted.
        space: the parameters' names in their order; empty where not told.
        advice: what to look at first, where luck explains all or nothing; None where there is nothing to be said.
        insight: what the surrogate believes, in the user's direction; None as long as there is none.
        is_stop_advised: whether the daemon hints that stopping is reasonable.
        since: when it ended, was paused, or else began, seconds since the epoch; what goes on doesn't change it.
        told: when the daemon said so, seconds since the epoch.
        body: the message without its envelope.
    """

    state: str
    reason: str | None
    evaluations: int | None
    finished: int
    running: int
    failed: int
    at_chance: int
    undecided: tuple[int, ...]
    failures: Mapping[str, float]
    best: Best | None
    time_s: Usage | None
    energy_kwh: Usage | None
    cost: Usage | None
    eta_s: float | None
    spent_s: float | None
    metric: str | None
    direction: str
    space: tuple[str, ...]
    advice: str | None
    insight: StudyInsight | None
    is_stop_advised: bool
    owner: str | None
    since: float
    told: float
    body: Body

    @classmethod
    def read(cls, body: Body, told: float = 0.0) -> Self:
        insight, undecided = object_of(body, "insight"), numbered(body, "undecided")
        is_paused = text_of(body, "state") == "paused"
        return cls(
            state=text_of(body, "state") or "unknown",
            reason=text_of(body, "reason"),
            evaluations=whole_of(body, "evaluations"),
            finished=whole_of(body, "finished") or 0,
            running=whole_of(body, "running") or 0,
            failed=(whole_of(body, "failed") or 0) - len(undecided),
            at_chance=whole_of(body, "at_chance") or 0,
            undecided=undecided,
            failures=numbers_of(body, "failures"),
            best=Best.read(object_of(body, "best")),
            time_s=Usage.read(body, "spent_wall_clock_s", "budget_wall_clock_s") or Usage.read(body, "spent_s", ""),
            energy_kwh=Usage.read(body, "energy_kwh", "budget_energy_kwh"),
            cost=Usage.read(body, "cost", "budget_cost"),
            eta_s=number_of(body, "eta_s"),
            spent_s=number_of(body, "spent_s"),
            metric=text_of(body, "metric"),
            direction=text_of(body, "direction") or "maximize",
            space=texts_of(body, "space"),
            advice=text_of(body, "advice"),
            insight=StudyInsight.read(insight),
            is_stop_advised=insight.get("stop_advised") is True,
            owner=text_of(body, "owner"),
            since=moment_of(body, "ended") or (None if is_paused else moment_of(body, "started")) or told,
            told=told,
            body=body,
        )

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("running", "paused")

    @property
    def is_only_chance(self) -> bool:
        """Whether it has values, all of which are at chance."""
        return 0 < self.at_chance == self.finished - self.failed - len(self.undecided)

    @property
    def is_stopped_by_crashes(self) -> bool:
        """Whether the daemon paused it because its last trials crashed in the same way."""
        return self.state == "paused" and self.reason == "crashes"
