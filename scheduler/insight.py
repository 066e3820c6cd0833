"""What the surrogate believes, for people: in the user's direction, with a hint when to stop.

An optimizer answers with plain data in units of the objective (`Suggestion.insight`), and the journal keeps them; here
they become typed. Whatever can't be read counts as not told, so that a journal of another version replays.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from cnnbo.scheduler.spec import Direction, to_objective

ASKS_TO_ADVISE = 5
"""So many asks in a row must promise less than the noise before stopping is advised: one alone is often luck."""


@dataclass(frozen=True, slots=True)
class StudyInsight:
    """What was believed at a study's last ask of its surrogate; None = not told.

    Attributes:
        relevance: parameters with their shares, >= 0, the most relevant first; all of them sum to 1.
        best_mean: value believed of the best configuration observed.
        best_sd: standard deviation of that belief, in units of the value, >= 0.
        noise_sd: standard deviation between repeated trials of one configuration, in units of the value, >= 0.
        expected_improvement: by how much the first point proposed is expected to beat `best_mean` if its trial
            finishes, in units of the value, >= 0 whatever the direction.
        feasible_probability: that this trial finishes, 0 to 1.
        observations: how many observations the surrogate was fitted to.
        observed: how many there were.
        asks_below_noise: how many asks in a row, this one included, promised less than the noise of one trial.
    """

    relevance: Mapping[str, float] = field(default_factory=dict)
    best_mean: float | None = None
    best_sd: float | None = None
    noise_sd: float | None = None
    expected_improvement: float | None = None
    feasible_probability: float | None = None
    observations: int | None = None
    observed: int | None = None
    asks_below_noise: int = 0

    @classmethod
    def read(cls, data: Mapping[str, object]) -> Self | None:
        """Read an optimizer's insight or the `insight` of a study object, as far as it can be read.

        Example:
            >>> StudyInsight.read({"best_mean": -0.9, "noise_sd": float("nan"), "colour": "red"})
            StudyInsight(relevance={}, best_mean=-0.9, best_sd=None, noise_sd=None, expected_improvement=None, \
feasible_probability=None, observations=None, observed=None, asks_below_noise=0)

        Returns:
            the insight, in whatever direction the data are; None if nothing of it can be read.
        """
        insight = cls(
            relevance=_relevance(data.get("relevance")),
            best_mean=_number(data.get("best_mean")),
            best_sd=_amount(data.get("best_sd")),
            noise_sd=_amount(data.get("noise_sd")),
            expected_improvement=_amount(data.get("expected_improvement")),
            feasible_probability=_probability(data.get("feasible_probability")),
            observations=_count(data.get("observations")),
            observed=_count(data.get("observed")),
            asks_below_noise=_count(data.get("asks_below_noise")) or 0,
        )
        return None if insight == cls() else insight

    def turned(self, direction: Direction) -> Self:
        """The same beliefs, from units of the objective to the user's direction or back."""
        if self.best_mean is None:
            return self
        return replace(self, best_mean=to_objective(self.best_mean, direction) + 0.0)  # never "-0"

    def following(self, before: "StudyInsight | None") -> Self:
        """This insight with its place in the row of asks that promised little; an ask without figures ends the row."""
        row = 0 if before is None else before.asks_below_noise
        return replace(self, asks_below_noise=row + 1 if self.is_gain_below_noise else 0)

    @property
    def expected_gain(self) -> float | None:
        """What the next trial is expected to bring, in units of the value, >= 0; one that fails brings nothing."""
        if self.expected_improvement is None:
            return None
        return self.expected_improvement * (1.0 if self.feasible_probability is None else self.feasible_probability)

    @property
    def is_gain_below_noise(self) -> bool:
        """Whether the expected gain would be lost in the noise of a single trial; False where either isn't known."""
        gain, noise = self.expected_gain, self.noise_sd
        return gain is not None and noise is not None and gain < noise

    @property
    def advises_stop(self) -> bool:
        """Whether the expected gain has been below the noise for long enough to say so. A hint, no more."""
        return self.asks_below_noise >= ASKS_TO_ADVISE


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON knows integers of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _amount(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _probability(value: object) -> float | None:
    number = _amount(value)
    return None if number is None else min(1.0, number)


def _count(value: object) -> int | None:
    number = _amount(value)
    return None if number is None else int(number)


def _relevance(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    shares = {str(name): share for name in value if (share := _amount(value[name])) is not None}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
