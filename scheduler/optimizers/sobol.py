"""Sobol's sequence: evenly spread points, as a method of its own, as the initial design and as the fallback."""

from collections.abc import Iterator

import numpy as np

from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints, distinct_points
from cnnbo.scheduler.space import SearchSpace


class SobolOptimizer:
    """Proposes element `ask` of the Sobol sequence that the study's seed scrambles, or the next that is new.

    Args:
        space: the search space.
        seed: the study's seed, >= 0.
        source: what the points are called; a method that uses this one as its initial design says `initial`.
    """

    def __init__(self, space: SearchSpace, seed: int, source: Source = Source.SOBOL) -> None:
        self._space = space
        self._seed = seed
        self._source = source

    def suggest(self, history: History, ask: int, count: int) -> Suggestion:
        """Propose elements `ask`, `ask + 1`, … that are new; see `Optimizer.suggest`."""
        rng = np.random.default_rng([self._seed, ask])
        taken = TakenPoints(self._space, history.taken)
        draws = sobol_points(self._space.dimension, self._seed, ask)
        return Suggestion(distinct_points(self._space, taken, draws, count, rng), self._source, {})


def sobol_points(dimension: int, seed: int, start: int) -> Iterator[list[float]]:
    """Elements `start`, `start + 1`, … of a scrambled Sobol sequence, each of length `dimension`, in [0, 1)."""
    from scipy.stats import qmc  # a second and 94 MB: not for a daemon without a study

    engine = qmc.Sobol(dimension, scramble=True, seed=seed)
    if start > 0:
        engine.fast_forward(start)
    while True:
        yield engine.random(1)[0].tolist()
