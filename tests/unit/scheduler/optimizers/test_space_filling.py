from itertools import islice

import numpy as np
import pytest
from tests.contracts.optimizer import MIXED, TINY

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.space_filling import spread_points
from cnnbo.scheduler.space import FloatParameter, SearchSpace

CUBE = SearchSpace(tuple(FloatParameter(f"x{k}", 0.0, 1.0) for k in range(8)))


def spread(count: int, taken: Points, seed: int = 0, space: SearchSpace = CUBE) -> Points:
    return np.array(list(islice(spread_points(space, taken, np.random.default_rng(seed)), count)))


def nearest(points: Points) -> float:
    """Mean distance of a point to the nearest other, around the ends of the axes."""
    apart = np.abs(points[:, None] - points[None])
    distances = np.sqrt((np.minimum(apart, 1 - apart) ** 2).sum(axis=2)) + 9.0 * np.eye(len(points))
    return float(distances.min(axis=1).mean())


def test_points_lie_further_apart_than_uniform_ones() -> None:
    """That is what they are for."""
    uniform = np.random.default_rng(1).random((40, 8))
    assert nearest(spread(40, CUBE_START)) > 1.2 * nearest(uniform)


CUBE_START = np.full((1, 8), 0.5)


def test_they_are_not_the_corners() -> None:
    """In a cube of eight dimensions the farthest point from what is taken is always a corner: of no use to anybody."""
    points = spread(60, CUBE_START)
    assert np.mean((points < 0.1) | (points > 0.9)) == pytest.approx(0.2, abs=0.06)


def test_what_is_taken_is_kept_away_from() -> None:
    """Pending points are taken, too: two devices must not fill the same hole."""
    taken = np.random.default_rng(2).random((30, 8))
    for seed in range(5):
        point = spread(1, taken, seed)
        apart = np.abs(point - taken)
        assert np.sqrt((np.minimum(apart, 1 - apart) ** 2).sum(axis=1)).min() > 0.5


def test_choices_are_spread_as_well() -> None:
    """Three choices, three points: each gets one where only the choice tells them apart."""
    points = spread(30, MIXED_START, space=MIXED)
    counts = np.bincount((points[:, 2] * 3).astype(int), minlength=3)
    assert counts.min() >= 6


MIXED_START = np.array([MIXED.canonical([0.5] * 4)])


def test_a_sieve_is_obeyed() -> None:
    """Where trials are known to fail nothing need be filled."""
    points = islice(
        spread_points(CUBE, CUBE_START, np.random.default_rng(0), lambda draws: draws[draws[:, 0] < 0.3]), 20
    )
    assert all(point[0] < 0.3 for point in points)


def test_a_finite_space_is_filled_to_its_last_configuration_and_no_further() -> None:
    """A draw that is taken must not be looked at again and again."""
    taken = np.array([TINY.encode({"depth": depth, "pooling": "max"}) for depth in (1, 2, 3)])
    points = list(spread_points(TINY, taken, np.random.default_rng(0)))
    assert len(points) == len({tuple(point) for point in points}) == 3
    assert all(TINY.decode(point)["pooling"] == "avg" for point in points)
