import itertools

import numpy as np
import pytest
from tests.contracts.optimizer import MIXED, CreateOptimizer, OptimizerContract, rows

from cnnbo.scheduler.optimizers.base import History, Source
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer, sobol_points


class TestSobol(OptimizerContract):
    @pytest.fixture
    def create(self) -> CreateOptimizer:
        return SobolOptimizer

    def test_an_ask_is_the_element_of_that_number(self) -> None:
        """A fallback anywhere in a study continues one and the same sequence."""
        empty = History.empty(MIXED.dimension)
        together = SobolOptimizer(MIXED, 5).suggest(empty, 0, 4)
        one_by_one = [SobolOptimizer(MIXED, 5).suggest(empty, ask, 1).points[0] for ask in range(4)]
        assert np.array_equal(together.points, one_by_one)
        assert together.source is Source.SOBOL

    def test_a_taken_element_is_skipped(self) -> None:
        """The start configuration or an earlier fallback may have used it up."""
        empty = History.empty(MIXED.dimension)
        first, second = SobolOptimizer(MIXED, 5).suggest(empty, 7, 2).points
        none = np.empty((0, MIXED.dimension))
        history = History(none, np.empty((0, 1)), none, first[None], none, 80, 0)
        assert rows(SobolOptimizer(MIXED, 5).suggest(history, 7, 1).points) == rows(second[None])


def test_elements_fill_the_cube_evenly() -> None:
    """That is what the sequence is for: of 64 elements, each quarter of every axis holds exactly 16."""
    points = np.array(list(itertools.islice(sobol_points(8, seed=1, start=0), 64)))
    for axis in points.T:
        assert np.bincount((axis * 4).astype(int)).tolist() == [16, 16, 16, 16]
