"""Random problems of the kind that tuning networks is: a narrow, slanted region of use, noise, and chance elsewhere.

Each is drawn from a recipe and a seed. What counts is a *step size*, a weighted sum of two or three rates in their
logarithms, as log(rate) - log(1 - momentum) is for a network: the region of use is where that lies beyond an edge,
within a band, or, together with further axes, on an island. Inside, the value falls from chance to 0 at one point (near
it, where a space has integers), and noise is 5 to 10 % of the range. Outside it stays at chance; on the far side of
some regions there is no number at all.

The problems with even seeds are for development. Those with odd seeds are looked at once, when nothing is changed any
more.
"""

import zlib
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, Parameter, SearchSpace
from proposing.laboratory import draw_space
from proposing.problems import Problem, Values

Array = npt.NDArray[np.float64]

CHANCE: Final = 1.0
"""The value of a configuration of no use; that of the best one is 0."""

_PLATEAU_NOISE: Final = 0.02

BOUND: Final = CHANCE - 3 * _PLATEAU_NOISE
"""The best value that luck explains."""

_SAMPLES: Final = 20_000


@dataclass(frozen=True)
class Recipe:
    """How a problem is drawn.

    Attributes:
        region: form of the region of use.
        useful: share of the cube that is better than chance, 0 to 1.
        slanted: how many rates the step size is made of, 2 or 3.
        floats, integers, choices: further parameters of each kind.
        noise: standard deviation inside of the region, in units of the range.
        fails: whether there is no number where the step size is too large.
    """

    region: Literal["edge", "band", "island"]
    useful: float
    slanted: int = 2
    floats: int = 0
    integers: int = 0
    choices: int = 0
    noise: float = 0.05
    fails: bool = False


RECIPES: Final = {
    "band5": Recipe("band", 0.12, floats=3),
    "band8": Recipe("band", 0.10, floats=2, integers=4, noise=0.08),
    "band8fails": Recipe("band", 0.10, slanted=3, floats=2, integers=2, choices=1, fails=True),
    "edge6": Recipe("edge", 0.10, slanted=3, floats=2, integers=1, noise=0.07),
    "island5": Recipe("island", 0.10, floats=3),
    "island7": Recipe("island", 0.08, floats=3, integers=1, choices=1, noise=0.08, fails=True),
}
"""By name."""

DEVELOPMENT: Final = tuple(f"{recipe}-0" for recipe in RECIPES)
"""The group `narrow`: one problem of each recipe."""

FINAL: Final = tuple(f"{recipe}-1" for recipe in RECIPES)
"""The group `narrow-final`."""


@dataclass(frozen=True)
class _Landscape:
    """The value without noise over the unit cube of a space of dimension D.

    Attributes:
        slopes: weights of the step size, 0 along what is no part of it; shape (D,).
        best: where the value is 0; shape (D,).
        bowl: how fast the gain falls with the distance from there; shape (D,).
        radii: of the island along its further axes, infinite along the others; shape (D,).
        is_open: whether the region has no end where the step size is large.
        effects: what each choice of a categorical parameter takes from the gain, None for numbers; length D.
        width: how far from the best step size the region ends, > 0.
        fails: whether there is no number beyond the region.
    """

    space: SearchSpace
    slopes: Array
    best: Array
    bowl: Array
    radii: Array
    is_open: bool
    effects: tuple[Array | None, ...]
    width: float = 1.0
    fails: bool = False

    def __call__(self, values: Values) -> float | None:
        point = np.array([self.space.encode(values)])
        if self.fails and float(self._excess(point)[0]) > self.width:
            return None
        return CHANCE - float(self.gains(point)[0])

    def gains(self, points: Array) -> Array:
        """How much better than chance points (n, D) are, 0 to `CHANCE`; shape (n,)."""
        off = self._excess(points)
        slanted = np.where(self.is_open & (off > 0), 0.0, off) / self.width
        reach = slanted**2 + (((points - self.best) / self.radii) ** 2).sum(axis=1)
        loss = (points - self.best) ** 2 @ self.bowl + self._lost_by_choices(points)
        return np.asarray(CHANCE * np.maximum(0.0, 1.0 - reach) * np.exp(-loss))

    def _excess(self, points: Array) -> Array:
        """Step sizes of points (n, D) above the best one; shape (n,)."""
        return np.asarray((points - self.best) @ self.slopes)

    def _lost_by_choices(self, points: Array) -> Array:
        lost = np.zeros(len(points))
        for effect, coordinates in zip(self.effects, points.T, strict=True):
            if effect is not None:
                lost += effect[_bins(coordinates, len(effect))]
        return lost


def _bins(coordinates: Array, count: int) -> npt.NDArray[np.intp]:
    """Return which of the equal bins of [0, 1] holds each coordinate; same shape."""
    return np.minimum((coordinates * count).astype(np.intp), count - 1)


def is_held_out(seed: int) -> bool:
    """Whether the problems with a seed are looked at once, at the end."""
    return seed % 2 == 1


def parse(name: str) -> tuple[str, int] | None:
    """Recipe and seed of a name like `band8-3`; None for any other."""
    recipe, _, seed = name.rpartition("-")
    return (recipe, int(seed)) if recipe in RECIPES and seed.isdecimal() else None


def draw(recipe: str, seed: int) -> Problem:
    """The problem of a recipe and a seed, the same one at every call.

    Args:
        recipe: one of `RECIPES`.
        seed: >= 0; even for development, odd to be looked at once.
    """
    drawn = RECIPES[recipe]
    rng = np.random.default_rng([21, zlib.crc32(recipe.encode()), seed])
    space = _space(drawn, rng)
    return Problem(
        f"{recipe}-{seed}",
        f"{drawn.region}, {drawn.useful:.0%} better than chance, d = {space.dimension}",
        space,
        _landscape(drawn, space, rng),
        lambda value: drawn.noise if value < CHANCE else _PLATEAU_NOISE,
        lambda values: 0.5 + float(np.mean(space.encode(values))),
        lambda: BOUND,
    )


def _space(recipe: Recipe, rng: np.random.Generator) -> SearchSpace:
    """The rates that make the step size, called `rate…`, among other parameters."""
    rates = [_rate(f"rate{k}", is_near_one=rng.random() < 0.5) for k in range(recipe.slanted)]
    others = draw_space(recipe.floats, recipe.integers, recipe.choices, rng)
    parameters = (*rates, *others.parameters)
    return SearchSpace(tuple(parameters[k] for k in rng.permutation(len(parameters))))


def _rate(name: str, is_near_one: bool) -> FloatParameter:
    return FloatParameter(name, 0.5, 0.999, "reverse-log") if is_near_one else FloatParameter(name, 1e-5, 1.0, "log")


def _landscape(recipe: Recipe, space: SearchSpace, rng: np.random.Generator) -> _Landscape:
    is_slanted = np.array([name.startswith("rate") for name in space.names])
    is_number = np.array([not isinstance(parameter, CategoricalParameter) for parameter in space.parameters])
    sample = rng.random((_SAMPLES, space.dimension))
    slopes = _slopes(is_slanted, rng)
    best = _best(recipe, slopes, sample, rng)
    landscape = _Landscape(
        space,
        slopes,
        best,
        bowl=np.where(is_number, rng.exponential(np.where(is_slanted, 0.6, 2.0)), 0.0),
        radii=_radii(recipe, np.flatnonzero(is_number & ~is_slanted), rng),
        is_open=recipe.region == "edge",
        effects=tuple(_effects(p, u, rng) for p, u in zip(space.parameters, best, strict=True)),
        fails=recipe.fails,
    )
    return replace(landscape, width=_width(landscape, sample, recipe.useful))


def _slopes(is_slanted: npt.NDArray[np.bool_], rng: np.random.Generator) -> Array:
    """Weights of either sign, the largest 1 in size: no rate counts so little that the slant could be overlooked."""
    sizes = np.where(is_slanted, rng.uniform(0.4, 1.0, len(is_slanted)), 0.0)
    return np.asarray(sizes / sizes.max() * rng.choice([-1.0, 1.0], len(sizes)))


def _best(recipe: Recipe, slopes: Array, sample: Array, rng: np.random.Generator) -> Array:
    """The best point: in the middle part of all axes, but for the rates, which give a step size of a drawn rank."""
    rank = 1 - recipe.useful / 2 if recipe.region == "edge" else rng.uniform(0.25, 0.75)
    ranked = sample[np.argsort(sample @ slopes)]
    return np.where(slopes != 0, ranked[int(rank * len(ranked))], rng.uniform(0.15, 0.85, len(slopes)))


def _radii(recipe: Recipe, others: npt.NDArray[np.intp], rng: np.random.Generator) -> Array:
    """An island ends along two more axes than a band does."""
    radii = np.full(recipe.slanted + recipe.floats + recipe.integers + recipe.choices, np.inf)
    if recipe.region == "island":
        further = rng.permutation(others)[:2]
        radii[further] = rng.uniform(0.35, 0.6, len(further))
    return radii


def _effects(parameter: Parameter, best: float, rng: np.random.Generator) -> Array | None:
    """What each choice takes; nothing the one whose bin holds the best coordinate."""
    if not isinstance(parameter, CategoricalParameter):
        return None
    effects = rng.exponential(0.15, len(parameter.choices))
    effects[_bins(np.array(best), len(effects))] = 0.0
    return effects


def _width(landscape: _Landscape, sample: Array, useful: float) -> float:
    """The width with which the promised share of the cube is better than chance, by bisection."""
    low, high = 0.0, 4.0
    for _ in range(30):
        middle = (low + high) / 2
        share = np.mean(replace(landscape, width=middle).gains(sample) > CHANCE - BOUND)
        low, high = (middle, high) if share < useful else (low, middle)
    return high
