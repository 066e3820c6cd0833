"""Random problems on which the proposer is developed; not one of them is a problem of the benchmark.

Each is drawn from a seed: a smooth random function (a sum of random waves, which is a draw from a Gaussian process)
and a bowl, over a random mixture of parameters, then bent by what makes tuning hard: noise, a plateau, a region that
fails, values over many decades. Drawn rather than designed, so that a constant that only fits one of them shows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Scale, SearchSpace
from proposing.problems import Problem, Values

Array = npt.NDArray[np.float64]

_WAVES = 256
_SAMPLES = 20_000


@dataclass(frozen=True)
class _Function:
    """A random function over the unit cube of a space, of mean about 0 and standard deviation about 1."""

    space: SearchSpace
    frequencies: Array
    phases: Array
    amplitudes: Array
    centre: Array
    curvature: Array
    effects: tuple[Array | None, ...]

    @classmethod
    def draw(cls, space: SearchSpace, rng: np.random.Generator, roughness: float, active: int) -> "_Function":
        d = space.dimension
        is_active = rng.permutation(d) < active
        lengths = np.where(is_active, rng.lognormal(math.log(0.35 * math.sqrt(active) / roughness), 0.5, d), 1e3)
        # Waves with Student-t frequencies are a draw from a Matern process; 5 degrees of freedom are Matern-5/2.
        frequencies = rng.standard_t(5, (_WAVES, d)) / lengths
        effects = tuple(
            rng.standard_normal(len(p.choices)) if isinstance(p, CategoricalParameter) else None
            for p in space.parameters
        )
        return cls(
            space,
            frequencies,
            rng.uniform(0, 2 * np.pi, _WAVES),
            rng.standard_normal(_WAVES) * math.sqrt(2.0 / _WAVES),
            rng.uniform(0.15, 0.85, d),
            np.where(is_active, rng.exponential(2.0, d), 0.0),
            effects,
        )

    def __call__(self, values: Values) -> float:
        u = np.array(self.space.encode(values))
        total = 0.0
        for k, effect in enumerate(self.effects):
            if effect is not None:
                choice = min(int(u[k] * len(effect)), len(effect) - 1)
                total += 0.6 * float(effect[choice])
                u[k] = effect[choice]  # neighbours among choices mean nothing
        waves = float(self.amplitudes @ np.cos(self.frequencies @ u + self.phases))
        numeric = np.array([effect is None for effect in self.effects])
        bowl = float((self.curvature * (u - self.centre) ** 2)[numeric].sum())
        return total + waves + bowl


@dataclass(frozen=True)
class _Load:
    """Something that rises or falls along up to three axes, as memory does with sizes."""

    space: SearchSpace
    weights: Array

    @classmethod
    def draw(cls, space: SearchSpace, rng: np.random.Generator) -> "_Load":
        d = space.dimension
        counts = (rng.permutation(d) < 3) & [not isinstance(p, CategoricalParameter) for p in space.parameters]
        return cls(space, np.where(counts, rng.exponential(1.0, d) * rng.choice([-1.0, 1.0], d), 0.0))

    def __call__(self, values: Values) -> float:
        return float(self.weights @ self.space.encode(values))


def draw_space(floats: int, integers: int, choices: int, rng: np.random.Generator) -> SearchSpace:
    """Draw a space of that many parameters of each kind, in random order, half of the numbers on log scales."""
    parameters: list[Parameter] = []
    for k in range(floats):
        scale: Scale = "log" if rng.random() < 0.5 else "linear"
        parameters.append(FloatParameter(f"x{k}", 1e-5, 1.0, scale))
    for k in range(integers):
        high = int(rng.choice([4, 9, 30, 500]))
        parameters.append(IntParameter(f"n{k}", 1, high, "log" if high > 20 else "linear"))
    letters = ["abcdef"[: int(count)] for count in rng.integers(2, 6, choices)]
    parameters += [CategoricalParameter(f"c{k}", tuple(choices)) for k, choices in enumerate(letters)]
    order = rng.permutation(len(parameters))
    return SearchSpace(tuple(parameters[k] for k in order))


@dataclass(frozen=True)
class _Recipe:
    floats: int
    integers: int = 0
    choices: int = 0
    roughness: float = 1.0
    active: int | None = None
    noise: float = 0.0
    plateau: float | None = None
    fails: float | None = None
    fails_beyond: float | None = None
    stretch: float = 0.0


def _problem(name: str, recipe: _Recipe, seed: int) -> Problem:
    rng = np.random.default_rng([20, seed])
    space = draw_space(recipe.floats, recipe.integers, recipe.choices, rng)
    function = _Function.draw(space, rng, recipe.roughness, recipe.active or space.dimension)
    danger: Callable[[Values], float] = _Function.draw(space, rng, 0.5, min(3, space.dimension))
    sample = [space.decode(u) for u in rng.random((_SAMPLES // 10, space.dimension))]
    values = np.array([function(values) for values in sample])
    scale, ceiling = float(values.std()), math.inf
    if recipe.plateau is not None:
        ceiling = float(np.quantile(values, recipe.plateau))
    limit, share = math.inf, recipe.fails
    if recipe.fails_beyond is not None:
        danger, share = _Load.draw(space, rng), recipe.fails_beyond
    if share is not None:
        limit = float(np.quantile([danger(values) for values in sample], 1 - share))
    return Problem(
        name,
        "drawn",
        space,
        _bent(function, danger, limit, ceiling, recipe.stretch / scale),
        lambda value: recipe.noise * (1.0 if recipe.stretch else scale),
        lambda values: 0.5 + float(np.mean(space.encode(values))),
    )


def _bent(
    function: _Function, danger: Callable[[Values], float], limit: float, ceiling: float, stretch: float
) -> Callable[[Values], float | None]:
    def mean(values: Values) -> float | None:
        if limit < math.inf and danger(values) > limit:
            return None
        value = min(function(values), ceiling)
        return math.exp(stretch * value) if stretch else value

    return mean


_RECIPES = {
    "bowl4": _Recipe(4, roughness=0.4),
    "waves5": _Recipe(5, roughness=1.3),
    "mixed7": _Recipe(3, 3, 1),
    "mixed9": _Recipe(4, 3, 2, active=6),
    "stretched6": _Recipe(4, 1, 1, stretch=2.0),
    "plateau6": _Recipe(4, 2, 0, plateau=0.3, noise=0.03, roughness=0.8),
    "failing6": _Recipe(4, 1, 1, fails=0.5),
    "noisy6": _Recipe(4, 2, 0, noise=0.3, roughness=0.8),
    "sparse12": _Recipe(9, 2, 1, active=4),
    "whole5": _Recipe(0, 4, 1),
    "failing8": _Recipe(4, 3, 1, fails=0.7),
    "failing4": _Recipe(4, fails=0.3, roughness=0.6, noise=0.05),
    "plateau8": _Recipe(5, 3, 0, plateau=0.4, noise=0.1, active=5, roughness=0.7),
    "edge5": _Recipe(3, 2, 0, fails_beyond=0.4, roughness=0.5),
    "edge8": _Recipe(4, 3, 1, fails_beyond=0.6, roughness=0.5),
}


def draw(recipe: str, seed: int) -> Problem:
    """Another problem after a recipe of `PROBLEMS`."""
    return _problem(recipe, _RECIPES[recipe], seed)


PROBLEMS: dict[str, Problem] = {
    name: _problem(name, recipe, seed) for seed, (name, recipe) in enumerate(_RECIPES.items())
}
"""By name."""
