"""What an optimizer is handed and what it returns: plain data, so that any ask can be repeated in a new process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Points in the unit cube, one a row: shape (n, D), every value in [0, 1]."""

Insight = Mapping[str, object]
"""What the surrogate believes, as JSON data; empty when no surrogate took part."""


class Source(StrEnum):
    """Where the point of a trial came from."""

    START = "start"
    INITIAL = "initial"
    RANDOM = "random"
    SOBOL = "sobol"
    SURROGATE = "surrogate"
    SPACE_FILLING = "space_filling"
    """Far from everything taken, while the model has not shown that it gains more than space-filling does."""

    ENQUEUED = "enqueued"


def _no_points() -> Points:
    return np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class History:
    """All that is known at the moment of an ask. D is the dimension of the space.

    Attributes:
        observed: encoded points of complete trials whose value luck doesn't explain, shape (N, D).
        objectives: their objectives, shape (N, 1); finite, lower is better.
        failed: points of trials that failed because of their configuration, shape (F, D): bad, but without a value.
        pending: points asked for and not yet told, shape (P, D).
        excluded: points that say nothing about the objective and must not be proposed again (trials lost for good to
            machine faults, cancelled ones, crashes of a broken script), shape (E, D).
        evaluations: how many trials the study may finish, >= 1.
        initial: how many points are asked for before the surrogate takes over, start configurations included.
        hint: what the previous suggestion asked to be handed back (fitted hyperparameters), or None.
        censored: points of complete trials at chance, shape (C, D): all that is known of their objective is a bound.
        bounds: the objectives that luck explains, shape (C, 1); finite. What lies at the point is as bad or worse: its
            objective is at or above the bound.
        trials: ids of the trials, aligned with `taken`; empty = not known.
        sources: where the points came from, aligned with `taken`; empty = not known.
    """

    observed: Points
    objectives: Points
    failed: Points
    pending: Points
    excluded: Points
    evaluations: int
    initial: int
    hint: bytes | None = None
    censored: Points = field(default_factory=_no_points)
    bounds: Points = field(default_factory=_no_points)
    trials: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.censored):
            # A caller without any need not know D for that.
            object.__setattr__(self, "censored", np.empty((0, self.observed.shape[1])))
        if not len(self.bounds):
            object.__setattr__(self, "bounds", np.empty((0, 1)))
        if self.objectives.shape != (len(self.observed), 1):
            raise ValueError(f"{len(self.observed)} observed points with objectives of shape {self.objectives.shape}")
        if self.bounds.shape != (len(self.censored), 1):
            raise ValueError(f"{len(self.censored)} censored points with bounds of shape {self.bounds.shape}")
        if not (np.isfinite(self.objectives).all() and np.isfinite(self.bounds).all()):
            raise ValueError("objectives and bounds must be finite; a failed trial belongs in `failed`")
        rows = len(self.taken)
        if len(self.trials) not in (0, rows) or len(self.sources) not in (0, rows):
            raise ValueError(f"{rows} points with {len(self.trials)} trials and {len(self.sources)} sources")

    @classmethod
    def empty(cls, dimension: int, evaluations: int = 80, initial: int = 0) -> "History":
        """A history in which nothing has been asked for yet."""
        none = np.empty((0, dimension))
        return cls(none, np.empty((0, 1)), none, none, none, evaluations, initial)

    @property
    def taken(self) -> Points:
        """Every point that must not be proposed again, shape (N + C + F + P + E, D).

        They stand in the order observed, censored, failed, pending, excluded.
        """
        return np.concatenate([self.observed, self.censored, self.failed, self.pending, self.excluded])


@dataclass(frozen=True, eq=False)
class Suggestion:
    """The answer to an ask.

    Attributes:
        points: shape (count, D), canonical (`space.canonical`), distinct from each other and from `History.taken`.
        source: `initial` (design before the surrogate), `random`, `sobol`, `surrogate` or `space_filling`; one for all
            points.
        insight: what the surrogate believes, JSON data.
        hint: opaque bytes (at most 64 KiB) to be handed back with the next ask, or None.
    """

    points: Points
    source: Source
    insight: Insight
    hint: bytes | None = None


class Optimizer(Protocol):
    """Proposes points from what it is handed and remembers nothing; built from (space, seed) alone."""

    def suggest(self, history: History, ask: int, count: int) -> Suggestion:
        """Propose `count` points in the unit cube.

        Args:
            history: what is known, frozen.
            ask: how many points this study asked for before, >= 0; beside the seed given at construction the only
                source of randomness (`numpy.random.default_rng([seed, ask])`), so the same call gives the same points.
            count: how many points to return, >= 1.

        Returns:
            points that are canonical, distinct from each other and from `history.taken`, and where they came from.

        Raises:
            SurrogateFitError: no surrogate could be fitted; the caller falls back to Sobol and logs it.
            SpaceExhaustedError: fewer than `count` configurations of a finite space are left.
        """
