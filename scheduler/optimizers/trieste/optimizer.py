"""Bayesian optimisation: an initial Sobol design, then a Gaussian process and its expected improvement.

Importing this module is cheap. TensorFlow, GPflow and Trieste are loaded by the first ask that needs a surrogate, so
that the initial design costs nothing.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints, distinct_points
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer
from cnnbo.scheduler.optimizers.space_filling import spread_points
from cnnbo.scheduler.space import SearchSpace

if TYPE_CHECKING:
    from cnnbo.scheduler.optimizers.trieste.engine import Engine


def needs_surrogate(history: History) -> bool:
    """Whether the initial design is over, and the next point rests on a surrogate.

    One that fills space does so where some trials failed and others didn't: it keeps out of where trials fail.
    """
    if _is_design(history):
        return False
    return not _is_blind(history) or _has_edge(history)


def _is_design(history: History) -> bool:
    return len(history.taken) < history.initial


def _is_blind(history: History) -> bool:
    """Whether a model has nothing to learn from: it would propose where it knows least, the corners."""
    return len(history.observed) == 0


def _has_edge(history: History) -> bool:
    """Whether there is something to learn about where trials fail."""
    return len(history.failed) > 0 and len(history.observed) + len(history.censored) > 0


class TriesteOptimizer:
    """Batch Bayesian optimisation with Trieste and GPflow.

    Compiled graphs are kept between asks, and nothing else: an ask in a new process gives the same points. Not to be
    called from two threads at once, for optimizers of the same space share the graphs.

    Args:
        space: the search space.
        seed: the study's seed, >= 0.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._initial = SobolOptimizer(space, seed, Source.INITIAL)

    def suggest(self, history: History, ask: int, count: int) -> Suggestion:
        """Propose `count` points; see `Optimizer.suggest`."""
        if _is_design(history):
            return self._initial.suggest(history, ask, count)
        seed = [self._seed, ask]
        if not _is_blind(history):
            return _engine(self._space).suggest(history, seed, count)
        if _has_edge(history):
            return _engine(self._space).fill(history, seed, count)
        return self._fill(history, np.random.default_rng(seed), count)

    def _fill(self, history: History, rng: np.random.Generator, count: int) -> Suggestion:
        taken = TakenPoints(self._space, history.taken)
        draws = spread_points(self._space, history.taken, rng)
        return Suggestion(distinct_points(self._space, taken, draws, count, rng), Source.SPACE_FILLING, {})


@lru_cache(maxsize=4)  # tracing the graphs of a space takes seconds; a daemon rarely has more studies at once
def _engine(space: SearchSpace) -> "Engine":
    from cnnbo.scheduler.optimizers.trieste.runtime import prepare

    prepare()

    from cnnbo.scheduler.optimizers.trieste.engine import Engine

    return Engine(space)
