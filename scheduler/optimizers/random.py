"""Random search: the control arm, and the method of the 2016 post's comparison."""

from collections.abc import Iterator

import numpy as np

from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints, distinct_points
from cnnbo.scheduler.space import SearchSpace


class RandomOptimizer:
    """Draws uniformly from the unit cube, each ask from a generator of its own, seeded with (seed, ask).

    Args:
        space: the search space.
        seed: the study's seed, >= 0.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed

    def suggest(self, history: History, ask: int, count: int) -> Suggestion:
        """Propose `count` random points; see `Optimizer.suggest`."""
        rng = np.random.default_rng([self._seed, ask])
        taken = TakenPoints(self._space, history.taken)
        points = distinct_points(self._space, taken, _uniform(rng, self._space.dimension), count, rng)
        return Suggestion(points, Source.RANDOM, {})


def _uniform(rng: np.random.Generator, dimension: int) -> Iterator[list[float]]:
    while True:
        yield rng.random(dimension).tolist()
