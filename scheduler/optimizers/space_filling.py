"""Points far from everything taken, and when such a point is due in the place of one that a model proposes.

A model that has seen a single success among nine trials stays near it, whatever that success was worth: its scale is
all the scale there is. Space-filling points find further ones at the rate at which random search does, so that a study
is not much worse than random search even where its model learns nothing.
"""

from collections.abc import Callable, Iterator

import numpy as np

from cnnbo.scheduler.optimizers.base import History, Points, Source
from cnnbo.scheduler.space import CategoricalParameter, SearchSpace

_DRAWS = 256
"""Uniform points of which the farthest is taken."""

_CHOICES_APART = 0.5
"""Distance of two different choices: as far as two numbers can be."""

_MODEL_PER_FILLING = 2
"""Asks that the model has between two that fill space, once its credit is spent."""


def spread_points(
    space: SearchSpace,
    taken: Points,
    rng: np.random.Generator,
    sieve: Callable[[Points], Points] | None = None,
) -> Iterator[list[float]]:
    """Draw points without end, each the farthest of some uniform ones from `taken` and from those drawn before.

    The best candidate of Mitchell (1991), with distances around the ends of each axis, as on a torus: in a cube of
    eight dimensions the farthest point is always a corner otherwise.

    Args:
        space: the search space, of dimension D.
        taken: encoded points, shape (n, D).
        rng: the source of the points.
        sieve: from candidates (m, D) to those among which to choose, at least one; None = all.

    Yields:
        canonical points of the unit cube, length D, none of them taken; no more where uniform draws no longer meet what
        is left of a finite space.
    """
    is_choice = np.array([isinstance(parameter, CategoricalParameter) for parameter in space.parameters])
    known = np.array([space.canonical(point) for point in taken]).reshape(-1, space.dimension)
    while True:
        draws = np.array([space.canonical(draw) for draw in rng.random((_DRAWS, space.dimension)).tolist()])
        draws = draws[_distances(draws, known, is_choice) > 0]
        if len(draws) == 0:
            return
        draws = draws if sieve is None else sieve(draws)
        farthest = draws[int(np.argmax(_distances(draws, known, is_choice)))]
        known = np.concatenate([known, farthest[None]])
        yield farthest.tolist()


def _distances(points: Points, known: Points, is_choice: Points) -> Points:
    """Squared distance of each of points (n, D) to the nearest of known (m, D), shape (n,); 1 where m is 0."""
    if len(known) == 0:
        return np.ones(len(points))
    apart = np.abs(points[:, None, :] - known[None, :, :])
    numbers = np.minimum(apart, 1.0 - apart)
    choices = np.where(apart > 0, _CHOICES_APART, 0.0)
    return np.asarray(np.sum(np.where(is_choice, choices, numbers) ** 2, axis=2).min(axis=1))


def is_filling_due(history: History) -> bool:
    """Whether the next point should fill space, since the model has not shown that its own gain more.

    As long as nothing is observed there is no model. From then on each new best gives the model as many asks in a row
    as there are observations up to then and of the design; when these are spent without another one, every third ask
    fills space until somebody finds a new best. So one lucky success among failures earns little credit, thirty earn
    much. Where every trial came to a value that luck doesn't explain, nothing is due: a model learns from all of them.

    Args:
        history: with `trials` and `sources`; without them, nothing is due but where nothing is observed.
    """
    count = len(history.observed)
    if count == 0:
        return True
    if not history.sources or len(history.failed) + len(history.censored) == 0:
        return False
    best = history.trials[int(np.argmin(history.objectives[:, 0]))]
    later = [k for k, trial in enumerate(history.trials) if trial > best]
    by_model = [k for k in later if history.sources[k] is Source.SURROGATE]
    filling = [k for k in later if history.sources[k] is Source.SPACE_FILLING]
    credit = count - sum(k < count for k in [*by_model, *filling])
    return len(by_model) - _MODEL_PER_FILLING * len(filling) >= credit
