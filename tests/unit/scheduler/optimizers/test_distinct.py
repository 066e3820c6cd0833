import itertools

import numpy as np
import pytest

from cnnbo.scheduler.errors import SpaceExhaustedError
from cnnbo.scheduler.optimizers.distinct import TakenPoints, bin_centres, distinct_points, grid
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace

LINE = SearchSpace((IntParameter("k", 1, 1000, "log"),))


def test_a_point_of_the_same_bin_is_a_duplicate() -> None:
    """Two points of a bin are one configuration."""
    space = SearchSpace((IntParameter("k", 1, 4),))
    taken = TakenPoints(space, np.array([[0.01]]))
    assert (0.24,) in taken
    assert (0.26,) not in taken


def test_choices_that_are_equal_in_python_are_different_configurations() -> None:
    """True, 1 and 1.0 are three choices to a user."""
    space = SearchSpace((CategoricalParameter("x", (1, True, 1.0)),))
    taken = TakenPoints(space, np.empty((0, 1)))
    points = distinct_points(space, taken, itertools.repeat([0.0]), 3, np.random.default_rng(0))
    assert len(np.unique(points)) == 3


def test_the_rare_rest_of_a_space_is_found_by_listing_it() -> None:
    """The last values of a log scale are too thin for draws to meet them."""
    all_but_one = np.array([[LINE.parameters[0].encode(k)] for k in range(1, 1000)])
    taken = TakenPoints(LINE, all_but_one)
    point = distinct_points(LINE, taken, itertools.repeat([0.0]), 1, np.random.default_rng(0))
    assert LINE.decode(point[0]) == {"k": 1000}
    with pytest.raises(SpaceExhaustedError, match="widen the space"):
        distinct_points(LINE, taken, itertools.repeat([0.0]), 1, np.random.default_rng(0))


def test_the_grid_holds_every_configuration_once() -> None:
    """Small spaces are searched by it."""
    space = SearchSpace((IntParameter("k", 3, 10), CategoricalParameter("x", ("a", "b"))))
    points = list(grid(space))
    assert len(points) == len(set(points)) == space.size
    assert all(space.canonical(point) == point for point in points)


def test_a_float_has_no_bins() -> None:
    """Nothing may try to list a continuum."""
    assert bin_centres(FloatParameter("x", 0.0, 1.0)) == ()
