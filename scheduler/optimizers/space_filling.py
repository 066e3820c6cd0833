"""Points far from everything taken: what to try as long as a model has nothing to learn from."""

from collections.abc import Callable, Iterator

import numpy as np

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.space import CategoricalParameter, SearchSpace

_DRAWS = 256
"""Uniform points of which the farthest is taken."""

_CHOICES_APART = 0.5
"""Distance of two different choices: as far as two numbers can be."""


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
