"""No point twice: every optimizer draws its points through here."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

import numpy as np

from cnnbo.scheduler.errors import SpaceExhaustedError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Point, SearchSpace

_DRAWS_PER_POINT = 1_000
"""Draws that may be duplicates before what is left is listed instead. Only a nearly used-up finite space needs more."""

_LISTED_AT_MOST = 4_096
"""Of a finite space at most so many free configurations are listed to choose from."""


class TakenPoints:
    """The configurations that must not be proposed again, whatever point of their bin they were stored as.

    Args:
        space: the search space.
        points: encoded points, shape (n, D).
    """

    def __init__(self, space: SearchSpace, points: Points) -> None:
        self._space = space
        self._taken = {space.canonical(point) for point in points}

    def __contains__(self, point: Sequence[float]) -> bool:
        return self._space.canonical(point) in self._taken

    def add(self, point: Sequence[float]) -> None:
        """Take a configuration."""
        self._taken.add(self._space.canonical(point))

    def require(self, count: int) -> None:
        """Check that `count` configurations are left.

        Raises:
            SpaceExhaustedError: fewer are.
        """
        size = self._space.size
        if size is not None and size - len(self._taken) < count:
            raise SpaceExhaustedError(
                f"The search space holds {size} configurations and {len(self._taken)} of them are taken; "
                "widen the space or lower `evaluations`."
            )


def distinct_points(
    space: SearchSpace, taken: TakenPoints, draws: Iterable[Sequence[float]], count: int, rng: np.random.Generator
) -> Points:
    """Take the first `count` draws that are new, made canonical, shape (count, D); they are added to `taken`.

    Args:
        space: the search space.
        taken: what must not be proposed again.
        draws: points of the unit cube without end, in order of preference.
        count: how many points to return, >= 1.
        rng: chooses among what is left where a finite space is nearly used up and the draws no longer meet it.

    Raises:
        SpaceExhaustedError: fewer than `count` configurations are left.
    """
    taken.require(count)
    stream = iter(draws)
    chosen: list[Point] = []
    for _ in range(count):
        point = _first_new(space, taken, stream) or _any_left(space, taken, rng)
        taken.add(point)
        chosen.append(point)
    return np.array(chosen, dtype=np.float64)


def _first_new(space: SearchSpace, taken: TakenPoints, draws: Iterator[Sequence[float]]) -> Point | None:
    for draw in itertools.islice(draws, _DRAWS_PER_POINT):
        point = space.canonical(draw)
        if point not in taken:
            return point
    return None


def _any_left(space: SearchSpace, taken: TakenPoints, rng: np.random.Generator) -> Point:
    free = (point for point in grid(space) if point not in taken)
    left = list(itertools.islice(free, _LISTED_AT_MOST))
    if not left:
        raise SpaceExhaustedError("No configuration is left that has not been proposed; widen the space.")
    return left[int(rng.integers(len(left)))]


def grid(space: SearchSpace) -> Iterator[Point]:
    """Every point of a finite space, canonical, the last coordinate running fastest; none for an endless space."""
    return itertools.product(*(bin_centres(parameter) for parameter in space.parameters))


def bin_centres(parameter: Parameter) -> tuple[float, ...]:
    """The canonical coordinates of a parameter, rising, in [0, 1]; empty for a float, which has no end of them."""
    match parameter:
        case FloatParameter():
            return ()
        case IntParameter(low=low, high=high):
            return tuple(parameter.encode(value) for value in range(low, high + 1))
        case CategoricalParameter(choices=choices):
            return tuple(parameter.encode(choice) for choice in choices)
        case _ as unreachable:
            assert_never(unreachable)
