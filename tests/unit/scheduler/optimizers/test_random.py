import pytest
from tests.contracts.optimizer import MIXED, CreateOptimizer, OptimizerContract, make_history, rows

from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.optimizers.random import RandomOptimizer


class TestRandom(OptimizerContract):
    @pytest.fixture
    def create(self) -> CreateOptimizer:
        return RandomOptimizer

    def test_asks_are_independent_draws(self) -> None:
        """Two asks with the same seed must not repeat each other, whatever is taken."""
        history = make_history(MIXED, observed=0)
        first, second = (RandomOptimizer(MIXED, 0).suggest(history, ask, 1) for ask in (0, 1))
        assert rows(first.points) != rows(second.points)
        assert first.source is Source.RANDOM
