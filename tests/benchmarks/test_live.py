"""Problems that really train: repeatable, silent, and at chance where nothing is learnt."""

from pathlib import Path

import numpy as np
import pytest
from proposing import groups, live
from proposing.convolutional import STREET_MNIST, Convolutional
from proposing.live import LiveProblem
from proposing.problems import Evaluable

from cnnbo.scheduler.space import Configuration, Scalar

MOVES: dict[str, Scalar] = {
    "filter1_width": 3,
    "filter1_depth": 8,
    "filter2_width": 3,
    "filter2_depth": 8,
    "keep_probability": 0.9,
    "learning_rate": 3e-4,
    "momentum": 0.9,
    "decay": 0.9,
}


def measured(problem: Evaluable, configuration: Configuration, seed: int = 0) -> float | None:
    value, mean = problem.evaluate(configuration, np.random.default_rng(seed))
    assert value == mean
    return value


def middle(problem: LiveProblem, **values: Scalar) -> Configuration:
    return {**problem.space.decode([0.5] * problem.space.dimension), **values}


class TestPerceptron:
    @pytest.fixture(params=["mlp_digits", "mlp_cancer", "deep_digits"])
    def problem(self, request: pytest.FixtureRequest) -> LiveProblem:
        pytest.importorskip("sklearn")
        return live.PROBLEMS[request.param]

    def test_the_same_seed_trains_the_same_network(self, problem: LiveProblem) -> None:
        """What a training comes to depends on configuration and seed alone, so that methods meet the same luck."""
        learning = middle(problem, learning_rate=0.01, momentum=0.9, weight_decay=1e-4, units=64, batch=8)
        values = [measured(problem, learning, seed) for seed in (1, 1, 2, 3)]
        assert values[0] == values[1]
        assert len(set(values)) > 1

    def test_a_rate_of_nothing_is_at_chance(self, problem: LiveProblem) -> None:
        """It completes with a value, which luck explains."""
        value = measured(problem, middle(problem, learning_rate=1e-7))
        assert value is not None and value >= problem.chance()
        assert 0.2 < problem.chance() < 0.9

    def test_a_rate_beyond_all_measure_has_no_number(self, problem: LiveProblem) -> None:
        """Then the trial fails, and nothing is printed about it."""
        assert measured(problem, middle(problem, learning_rate=1e3, momentum=0.999, weight_decay=100.0)) is None


@pytest.mark.tensorflow
class TestConvolutional:
    @pytest.fixture
    def problem(self, tmp_path: Path) -> LiveProblem:
        pytest.importorskip("tensorflow")
        pytest.importorskip("PIL")
        from cnnbo.models.svhn.synth import write_dataset

        write_dataset(tmp_path, {"train": 500, "extra": 500, "test": 10}, seed=3)
        return LiveProblem("few", "", live.DIGITS_SPACE, Convolutional(lambda: tmp_path, images=800))

    def test_trainings_are_repeatable_and_silent(self, problem: LiveProblem, capfd: pytest.CaptureFixture[str]) -> None:
        """Many run in one process after each other, and leave no trace in what the others print or come to."""
        first = measured(problem, MOVES)
        stuck = measured(problem, MOVES | {"learning_rate": 1e-5, "decay": 0.5})
        assert measured(problem, MOVES) == first
        assert measured(problem, MOVES, seed=1) != first
        assert first is not None and 0 < first < 1
        assert stuck is not None and stuck >= problem.chance()
        assert capfd.readouterr().out == ""


def test_data_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The problem is skipped with what to do, rather than found missing after hours."""
    pytest.importorskip("tensorflow")
    monkeypatch.setenv(STREET_MNIST, str(tmp_path))
    assert groups.missing("street") == f"street_mnist is not in {tmp_path}; name its folder in {STREET_MNIST}"
    assert groups.missing("network") is groups.missing("band5-0") is None


def test_half_of_the_problems_are_held_out() -> None:
    """Every live problem is in one of the two groups."""
    assert sorted((*live.DEVELOPMENT, *live.FINAL)) == sorted(live.PROBLEMS)
