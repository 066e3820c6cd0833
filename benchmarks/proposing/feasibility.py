"""How well the surrogate of failures tells where trials fail, on drawn problems; a lower log loss is better."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.optimizers.base import Points
from proposing import laboratory
from proposing.problems import Problem

RECIPES = ("failing4", "failing6", "failing8", "edge5", "edge8")
TRIALS = (12, 25, 50, 80)

_SEEDS = range(100, 105)  # the laboratory's own problems have seeds below
_TESTED = 600
_SURE = 1e-4  # a probability nearer to 0 or 1 than this counts as this


@dataclass(frozen=True)
class Loss:
    """One fit.

    Attributes:
        recipe, seed: the problem it was drawn as.
        trials: fitted to.
        log_loss: mean of minus the logarithm of the probability given to what happens, over the tested points.
        accuracy: share of the tested points on the right side of one half.
    """

    recipe: str
    seed: int
    trials: int
    log_loss: float
    accuracy: float


def losses() -> Iterator[Loss]:
    """Fit and test on every recipe, seed and number of trials where some trials fail and some do not.

    Half of the points of a set are uniform, half lie around a good configuration, as in a study.
    """
    for recipe in RECIPES:
        for seed in _SEEDS:
            yield from _of_problem(recipe, seed)


def _of_problem(recipe: str, seed: int) -> Iterator[Loss]:
    from cnnbo.scheduler.optimizers.trieste.runtime import prepare

    prepare()
    from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility

    problem, rng = laboratory.draw(recipe, seed), np.random.default_rng(seed)
    uniform = _canonical(problem, rng.random((400, problem.space.dimension)))
    values = np.array([np.nan if value is None else value for value in _means(problem, uniform)])
    good = uniform[int(np.nanargmin(values))]
    model = Feasibility(problem.space)
    tested = _mixture(problem, good, _TESTED, rng)
    is_finished = _finishes(problem, tested)
    for trials in TRIALS:
        points = _mixture(problem, good, trials, rng)
        finished = _finishes(problem, points)
        if finished.all() or not finished.any():
            continue
        model.fit(points[finished], points[~finished], None)
        p = np.clip(np.exp(model.log_probability(tested).numpy()[:, 0]), _SURE, 1 - _SURE)
        log_loss = -np.mean(np.log(np.where(is_finished, p, 1 - p)))
        yield Loss(recipe, seed, trials, float(log_loss), float(np.mean((p > 0.5) == is_finished)))


def _mixture(problem: Problem, good: Points, count: int, rng: np.random.Generator) -> Points:
    cube = rng.random((count, problem.space.dimension))
    near = good + 0.15 * rng.standard_normal((count // 2, problem.space.dimension))
    cube[: count // 2] = np.clip(near, 0, 1)
    return _canonical(problem, cube)


def _canonical(problem: Problem, cube: Points) -> Points:
    return np.array([problem.space.canonical(point) for point in cube.tolist()])


def _means(problem: Problem, points: Points) -> Sequence[float | None]:
    return [problem.mean(problem.space.decode(point)) for point in points]


def _finishes(problem: Problem, points: Points) -> npt.NDArray[np.bool_]:
    return np.array([value is not None for value in _means(problem, points)])
