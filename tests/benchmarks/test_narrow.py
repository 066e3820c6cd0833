"""Drawn narrow problems: what their recipes promise must hold for seeds that nobody looked at."""

import numpy as np
import pytest
from proposing import narrow
from proposing.problems import Problem

from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter

SEEDS = (0, 1, 2, 3)
DRAWS = 1_500

every = pytest.mark.parametrize("recipe", narrow.RECIPES)


def values(problem: Problem) -> list[float | None]:
    """Without noise, of configurations drawn uniformly."""
    cube = np.random.default_rng(7).random((DRAWS, problem.space.dimension))
    return [problem.mean(problem.space.decode(point)) for point in cube.tolist()]


def useful_share(of: list[float | None]) -> float:
    return float(np.mean([value is not None and value < narrow.BOUND for value in of]))


@every
def test_nine_configurations_in_ten_come_to_nothing(recipe: str) -> None:
    """85 to 95 % are at chance or fail, which is what the problems are for; 3 % more or less are the sample's."""
    for seed in SEEDS:
        assert useful_share(values(narrow.draw(recipe, seed))) == pytest.approx(narrow.RECIPES[recipe].useful, abs=0.03)
    assert 0.05 <= narrow.RECIPES[recipe].useful <= 0.15


@every
def test_only_the_recipes_that_say_so_fail(recipe: str) -> None:
    """There a good share fails, but there is a plateau of chance as well, or the two could not be told apart."""
    for seed in SEEDS:
        found = values(narrow.draw(recipe, seed))
        failing = found.count(None) / DRAWS
        at_chance = np.mean([value is not None and value >= narrow.BOUND for value in found])
        assert (0.15 <= failing <= 0.75) if narrow.RECIPES[recipe].fails else failing == 0
        assert at_chance >= 0.15


@every
def test_the_optimum_is_near_0(recipe: str) -> None:
    """Values of different problems can be compared: climbing from the best of a sample ends near 0 everywhere."""
    for seed in SEEDS:
        assert climbed(narrow.draw(recipe, seed)) < 0.1


def climbed(problem: Problem) -> float:
    """The best value found from the best ten of a sample by random steps that shrink."""
    rng = np.random.default_rng(3)

    def worth(point: list[float]) -> float:
        value = problem.mean(problem.space.decode(point))
        return narrow.CHANCE if value is None else value

    points = sorted(rng.random((DRAWS, problem.space.dimension)).tolist(), key=worth)[:10]
    for step in np.geomspace(0.2, 0.01, 60):
        near = [np.clip(p + step * rng.standard_normal(len(p)), 0, 1).tolist() for p in points for _ in range(4)]
        points = sorted(points + near, key=worth)[:10]
    return worth(points[0])


@every
def test_a_problem_is_its_recipe_and_seed(recipe: str) -> None:
    """Rows of months ago and of other machines are of the same problem, and another seed is another problem."""
    first, again, other = narrow.draw(recipe, 5), narrow.draw(recipe, 5), narrow.draw(recipe, 6)
    assert first.space == again.space
    assert values(first)[:50] == values(again)[:50]
    assert (first.space, values(first)[:50]) != (other.space, values(other)[:50])


def test_problems_stay_what_they_were() -> None:
    """A change to the drawing, or another recipe in the list, would make all rows ones of other problems."""
    problem = narrow.draw("band5", 0)
    assert problem.space.names == ("x0", "rate0", "x1", "x2", "rate1")
    assert problem.mean(problem.space.decode([0.31, 0.49, 0.89, 0.93, 0.36])) == pytest.approx(0.2631038789, rel=1e-6)


@every
def test_what_counts_is_slanted_through_rates(recipe: str) -> None:
    """Two or three floats on logarithmic scales, as rates and momenta are; the other parameters are as promised."""
    drawn, space = narrow.RECIPES[recipe], narrow.draw(recipe, 0).space
    rates = [p for p in space.parameters if p.name.startswith("rate")]
    assert len(rates) == drawn.slanted and drawn.slanted in (2, 3)
    assert all(isinstance(p, FloatParameter) and p.scale in ("log", "reverse-log") for p in rates)
    kinds = (FloatParameter, IntParameter, CategoricalParameter)
    counts = tuple(sum(isinstance(p, kind) for p in space.parameters) for kind in kinds)
    assert counts == (drawn.slanted + drawn.floats, drawn.integers, drawn.choices)


@every
def test_noise_is_five_to_ten_percent_and_luck_is_within_the_bound(recipe: str) -> None:
    """Of the plateau's values one in a thousand may look better than chance, by three standard deviations."""
    problem = narrow.draw(recipe, 0)
    assert 0.05 <= problem.noise_sd(0.3) <= 0.10
    assert problem.chance() == narrow.BOUND == pytest.approx(narrow.CHANCE - 3 * problem.noise_sd(narrow.CHANCE))


def test_half_of_the_problems_are_held_out() -> None:
    """Even seeds for development, odd ones for the end: no problem may be in both groups."""
    seeds = {group: {narrow.parse(name) for name in group} for group in (narrow.DEVELOPMENT, narrow.FINAL)}
    assert seeds[narrow.DEVELOPMENT] == {(recipe, 0) for recipe in narrow.RECIPES}
    assert seeds[narrow.FINAL] == {(recipe, 1) for recipe in narrow.RECIPES}


@pytest.mark.parametrize("name", ["band8", "band8-", "band8-x", "band8--1", "hartmann6", "-3"])
def test_other_names_are_no_drawn_problems(name: str) -> None:
    """They may be problems of another kind, or mistakes that are to be said."""
    assert narrow.parse(name) is None
