"""Bayesian optimisation: an initial Sobol design, then a Gaussian process and its expected improvement.

Importing this module is cheap. TensorFlow, GPflow and Trieste are loaded by the first ask that needs the surrogate, so
that the initial design costs nothing.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer
from cnnbo.scheduler.space import SearchSpace

if TYPE_CHECKING:
    from cnnbo.scheduler.optimizers.trieste.engine import Engine


def needs_surrogate(history: History) -> bool:
    """Whether the initial design is over: enough points were asked for, and one of them has an objective or a bound."""
    return len(history.observed) + len(history.censored) > 0 and len(history.taken) >= history.initial


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
        if not needs_surrogate(history):
            return self._initial.suggest(history, ask, count)
        return _engine(self._space).suggest(history, [self._seed, ask], count)


@lru_cache(maxsize=4)  # tracing the graphs of a space takes seconds; a daemon rarely has more studies at once
def _engine(space: SearchSpace) -> "Engine":
    from cnnbo.scheduler.optimizers.trieste.runtime import prepare

    prepare()

    from cnnbo.scheduler.optimizers.trieste.engine import Engine

    return Engine(space)
