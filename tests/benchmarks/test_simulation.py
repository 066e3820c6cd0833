"""The simulated box: the comparison is only fair if it keeps its own rules."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from proposing.problems import PROBLEMS, Problem
from proposing.simulation import EVALUATIONS, Row, Terms, simulate

from cnnbo.scheduler.space import Configuration, FloatParameter, SearchSpace

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0),))
X = tuple(float(x) for x in np.random.default_rng(0).random(EVALUATIONS))


class Recorder:
    """A method that proposes a fixed list and notes what it is told, and how many trials run meanwhile."""

    def __init__(self, points: tuple[float, ...] = X) -> None:
        self._points = points
        self.told: list[int] = []
        self.terms: Terms | None = None
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


def problem(mean: float | None = 0.5, chance: float = math.inf) -> Problem:
    return Problem("p", "", SPACE, lambda values: mean, lambda value: 0.1, uneven, lambda: chance)


def run(method: Recorder, of: Problem, parallel: int = 3, seed: int = 0, evaluations: int = EVALUATIONS) -> Row:
    def make(terms: Terms) -> Recorder:
        method.terms = terms
        return method

    return simulate(of, "recorder", make, seed, parallel, {}, evaluations)


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


def test_a_method_is_told_its_terms() -> None:
    """Budget, devices and what luck explains are known to a user beforehand."""
    method = Recorder()
    row = run(method, problem(chance=0.4), parallel=2, seed=7, evaluations=40)
    assert method.terms == Terms(SPACE, seed=7, parallel=2, evaluations=40, chance=0.4)
    assert (row.evaluations, method.asked, row.key) == (40, 40, ("p", "recorder", 7, 2, 40))


def test_values_that_luck_explains_are_counted() -> None:
    """They are no failures, and where no value is luck there are none."""
    assert run(Recorder(), problem(mean=0.5)).at_chance == 0
    assert run(Recorder(), problem(mean=5.0, chance=1.0)).at_chance == EVALUATIONS
    assert run(Recorder(), problem(mean=None, chance=1.0)).at_chance == 0
    mixed = run(Recorder(), problem(mean=0.5, chance=0.5))
    assert mixed.at_chance == sum(value is not None and value >= 0.5 for value in mixed.observed) not in (0, 80)


@pytest.mark.parametrize("come_to", [problem(mean=None), problem(mean=5.0, chance=1.0)])
def test_what_fails_or_is_stuck_ends_early(come_to: Problem) -> None:
    """The only trial that takes its whole time is overtaken by two or more on the other device."""
    of = Problem("p", "", SPACE, lambda v: 0.0 if v["x"] == 0.5 else come_to.mean(v), duration=lambda values: 1.0)
    of = replace(of, chance=come_to.chance)
    method = Recorder((0.5, *X[1:]))
    run(method, of, parallel=2)
    assert method.told.index(0) >= 2


def test_a_trial_is_evaluated_once() -> None:
    """A live problem trains at every evaluation."""
    counted: list[float] = []
    of = Problem("p", "", SPACE, lambda values: counted.append(values["x"]) or 1.0)  # type: ignore[func-returns-value]
    run(Recorder(), of)
    assert len(counted) == EVALUATIONS


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
