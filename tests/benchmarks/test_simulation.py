"""The simulated box: the comparison is only fair if it keeps its own rules."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from proposing.problems import PROBLEMS, Problem
from proposing.simulation import EVALUATIONS, MakeMethod, Row, simulate

from cnnbo.scheduler.space import Configuration, FloatParameter, SearchSpace

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0),))
X = tuple(float(x) for x in np.random.default_rng(0).random(EVALUATIONS))


class Recorder:
    """A method that proposes a fixed list and notes what it is told, and how many trials run meanwhile."""

    def __init__(self, points: tuple[float, ...] = X) -> None:
        self._points = points
        self.told: list[int] = []
        self.asked = 0
        self.running_at_most = 0

    def ask(self) -> Configuration:
        self.asked += 1
        self.running_at_most = max(self.running_at_most, self.asked - len(self.told))
        return {"x": self._points[self.asked - 1]}

    def tell(self, number: int, value: float | None) -> None:
        self.told.append(number)


def uneven(values: Mapping[str, Any]) -> float:
    """Durations from 1 to about 1,000."""
    return float(1000.0 ** values["x"])


def problem(mean: float | None = 0.5) -> Problem:
    return Problem("p", "", SPACE, lambda values: mean, noise_sd=lambda value: 0.1, duration=uneven)


def run(method: Recorder, of: Problem, parallel: int = 3, seed: int = 0) -> Row:
    make: MakeMethod = lambda space, seed, parallel, evaluations: method  # noqa: E731 - the type is the point
    return simulate(of, "recorder", make, seed, parallel, {})


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_all_devices_are_kept_busy_and_no_more(parallel: int) -> None:
    """A method must see as many running trials as there are other devices, neither more nor less."""
    method = Recorder()
    run(method, problem(), parallel)
    assert method.running_at_most == parallel
    assert method.asked == EVALUATIONS


def test_trials_are_told_in_the_order_in_which_they_end() -> None:
    """With unequal durations that is another order than the one asked in; rows are kept in it too."""
    method = Recorder()
    row = run(method, problem())
    assert sorted(method.told) == list(range(EVALUATIONS))
    assert method.told != sorted(method.told)
    assert [configuration["x"] for configuration in row.configurations] == [X[number] for number in method.told]


def test_one_device_tells_in_the_order_asked() -> None:
    """Nothing overtakes on one device."""
    method = Recorder()
    run(method, problem(), parallel=1)
    assert method.told == list(range(EVALUATIONS))


def test_every_method_meets_the_same_noise() -> None:
    """Two methods that propose the same must get the same; one that proposes else, the same luck with each trial."""
    first, second, other = Recorder(), Recorder(), Recorder(X[::-1])
    rows = [run(method, problem(), parallel=1) for method in (first, second, other)]
    assert rows[0].observed == rows[1].observed == rows[2].observed
    assert rows[0].means == [0.5] * EVALUATIONS
    assert len(set(rows[0].observed)) == EVALUATIONS


def test_another_seed_is_other_noise() -> None:
    """Otherwise seeds were no repetitions."""
    assert run(Recorder(), problem(), seed=0).observed != run(Recorder(), problem(), seed=1).observed


def test_failures_have_no_value() -> None:
    """Neither with noise nor without, and they count as evaluations."""
    row = run(Recorder(), problem(mean=None))
    assert row.observed == row.means == [None] * EVALUATIONS


def test_what_was_asked_before_is_counted() -> None:
    """Duplicates are one of the measures; only repetitions count, not the first."""
    assert run(Recorder((0.5,) * EVALUATIONS), problem()).duplicates == EVALUATIONS - 1
    assert run(Recorder(), problem()).duplicates == 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_take_every_corner_of_their_space(name: str) -> None:
    """Formulas with logarithms and powers must not break at the ends of a range, which methods like to visit."""
    of = PROBLEMS[name]
    for corner in (0.0, 1.0):
        configuration = of.space.decode([corner] * of.space.dimension)
        mean = of.mean(configuration)
        assert mean is None or np.isfinite(mean)
        assert of.duration(configuration) > 0
