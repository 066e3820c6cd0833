"""The problems the proposers are compared on: a search space, a value to be minimised, noise, failures, durations.

Written down before any proposer was run on them, and no constant of cnnbo is set by what comes out here; what was
looked at all the same stands in docs/proposer.md. What the proposer is developed on is in `laboratory.py`.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cnnbo.scheduler.space import CategoricalParameter, Configuration, FloatParameter, IntParameter, SearchSpace

Values = Mapping[str, Any]

_TABLE = Path(__file__).parents[1] / "data" / "cnn_table.jsonl"
_VALIDATION_IMAGES = 800


def _no_noise(value: float) -> float:
    return 0.0


def _unit_duration(values: Values) -> float:
    return 1.0


def _no_chance() -> float:
    return math.inf


class Evaluable(Protocol):
    """What a run needs of a problem, whether it is computed or trained."""

    @property
    def name(self) -> str:
        """What rows and tables call it."""

    @property
    def kind(self) -> str:
        """What is hard about it, for tables."""

    @property
    def space(self) -> SearchSpace:
        """The search space, of dimension D."""

    def evaluate(self, configuration: Configuration, rng: np.random.Generator) -> tuple[float | None, float | None]:
        """The value, to be minimised, with and without noise, or (None, None) where the trial fails.

        The same configuration and state of the generator give the same values.
        """

    def chance(self) -> float:
        """The best value that luck explains, as a user would write it into `[report] chance`; infinite for none."""

    def duration(self, values: Values) -> float:
        """Relative duration of a trial, 1 on average or so; > 0."""


@dataclass(frozen=True)
class Problem:
    """A problem with a formula.

    Attributes:
        name: what rows and tables call it.
        kind: what is hard about it, for the table.
        space: the search space, of dimension D.
        mean: the value without noise, to be minimised; None where the trial fails and has no value.
        noise_sd: standard deviation of the noise at a value.
        duration: relative duration of a trial, 1 on average or so; > 0.
        chance: see `Evaluable.chance`.
    """

    name: str
    kind: str
    space: SearchSpace
    mean: Callable[[Values], float | None]
    noise_sd: Callable[[float], float] = _no_noise
    duration: Callable[[Values], float] = _unit_duration
    chance: Callable[[], float] = _no_chance

    def evaluate(self, configuration: Configuration, rng: np.random.Generator) -> tuple[float | None, float | None]:
        """See `Evaluable.evaluate`."""
        mean = self.mean(configuration)
        if mean is None:
            return None, None
        return mean + self.noise_sd(mean) * float(rng.standard_normal()), mean


# -- continuous -------------------------------------------------------------------------------------------------------

_HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
_HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])


def _hartmann6(values: Values) -> float:
    """Hartmann's six-dimensional function; minimum -3.32237."""
    x = np.array([values[f"x{k}"] for k in range(6)])
    return float(-_HARTMANN_ALPHA @ np.exp(-(_HARTMANN_A * (x - _HARTMANN_P) ** 2).sum(axis=1)))


def _rosenbrock(values: Values) -> float:
    """Rosenbrock's valley in five dimensions; minimum 0 at (1, …, 1), thousands at the corners."""
    x = np.array([values[f"x{k}"] for k in range(5)])
    return float(np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2))


# -- mixed, on log scales ---------------------------------------------------------------------------------------------

_NETWORK = SearchSpace(
    (
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        FloatParameter("weight_decay", 1e-7, 1e-1, "log"),
        FloatParameter("dropout", 0.0, 0.8),
        FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
        IntParameter("layers", 1, 8),
        IntParameter("units", 16, 1024, "log"),
        CategoricalParameter("activation", ("relu", "gelu", "tanh")),
        CategoricalParameter("schedule", ("constant", "cosine")),
    )
)


def _network(values: Values) -> float:
    """Error of a made-up dense network: the best learning rate falls with depth, width and momentum."""
    capacity = values["layers"] * math.log2(values["units"])
    underfit = 0.30 * math.exp(-capacity / 14.0)
    overfit = 0.0025 * max(0.0, capacity - 24.0) * (1.0 - 0.9 * values["dropout"])
    regularised = 0.004 * (math.log10(values["weight_decay"]) + 3.6) ** 2 + 0.05 * max(0.0, values["dropout"] - 0.45)
    effective = math.log10(values["learning_rate"] / (1.0 - values["momentum"]))
    best = -1.6 - 0.12 * values["layers"] - 0.25 * math.log10(values["units"] / 128.0)
    best += 0.35 if values["schedule"] == "cosine" else 0.0
    off = effective - best
    slow, fast = 0.05 * min(off, 0.0) ** 2, 0.16 * max(off, 0.0) ** 1.5
    activation = {"relu": 0.0, "gelu": 0.008, "tanh": 0.03 + 0.006 * values["layers"]}[values["activation"]]
    schedule = 0.0 if values["schedule"] == "cosine" else 0.012
    return min(0.9, 0.04 + underfit + overfit + regularised + slow + fast + activation + schedule)


def _network_duration(values: Values) -> float:
    return 0.3 + 0.25 * values["layers"] * (values["units"] / 256.0) ** 0.7 / 2.0


_BOOSTING = SearchSpace(
    (
        IntParameter("trees", 10, 3_000, "log"),
        FloatParameter("learning_rate", 1e-3, 1.0, "log"),
        IntParameter("depth", 1, 14),
        IntParameter("leaf_samples", 1, 300, "log"),
        FloatParameter("row_share", 0.2, 1.0),
        FloatParameter("column_share", 0.1, 1.0),
    )
)


def _boosting(values: Values) -> float:
    """Loss of made-up boosted trees: shrinkage times trees has a ridge, depth trades against samples in a leaf."""
    fitted = math.log(values["trees"] * values["learning_rate"] * (1 + 0.15 * values["depth"]))
    ridge = 0.10 * (min(fitted - 3.4, 0.0)) ** 2 + 0.035 * max(fitted - 3.4, 0.0) ** 2
    coarse = 0.05 * math.log10(values["learning_rate"] / 0.02) ** 2 if values["learning_rate"] > 0.02 else 0.0
    complexity = values["depth"] - 0.9 * math.log(values["leaf_samples"])
    shape = 0.012 * (complexity - 4.3) ** 2
    shares = 0.15 * (values["row_share"] - 0.72) ** 2 + 0.2 * (values["column_share"] - 0.45) ** 2
    ripple = 0.01 * math.cos(2.3 * values["depth"]) * math.sin(5.0 * values["column_share"])
    return 0.25 + ridge + coarse + shape + shares + ripple


def _boosting_duration(values: Values) -> float:
    return 0.2 + (values["trees"] / 300.0) ** 0.8 * values["depth"] / 7.0


_DISCRETE = SearchSpace(
    (
        IntParameter("stages", 1, 6),
        IntParameter("width", 4, 40),
        IntParameter("kernel", 1, 9),
        CategoricalParameter("pooling", ("max", "average", "stride")),
        CategoricalParameter("norm", ("none", "batch", "layer", "group")),
        CategoricalParameter("residual", (True, False)),
    )
)


def _discrete(values: Values) -> float:
    """Error of a made-up architecture; no real parameter, 47,952 configurations."""
    size = values["stages"] * math.sqrt(values["width"])
    fit = 0.4 * math.exp(-size / 8.0) + 0.004 * max(0.0, size - 21.0)
    field = values["kernel"] * (1 + 0.5 * values["stages"])
    view = 0.0016 * (field - 17.0) ** 2 / 4.0 + (0.02 if values["kernel"] % 2 == 0 else 0.0)
    norm = {"none": 0.02 * values["stages"], "batch": 0.0, "layer": 0.012, "group": 0.004}[values["norm"]]
    pooling = {"max": 0.0, "average": 0.01, "stride": 0.004 + 0.002 * values["stages"]}[values["pooling"]]
    skip = 0.0 if values["residual"] else 0.008 * max(0, values["stages"] - 2)
    return 0.05 + fit + view + norm + pooling + skip


# -- failures ---------------------------------------------------------------------------------------------------------

_MEMORY = SearchSpace(
    (
        IntParameter("batch", 8, 1024, "log"),
        IntParameter("width", 8, 512, "log"),
        IntParameter("depth", 2, 20),
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        FloatParameter("clip", 0.01, 100.0, "log"),
        FloatParameter("smoothing", 0.0, 0.5),
    )
)


def _memory(values: Values) -> float | None:
    """Runs out of memory above a size, diverges above a learning rate; the best is close to where memory ends."""
    memory = 0.02 * values["batch"] ** 0.8 * values["width"] ** 0.6 * values["depth"] ** 0.9
    step = math.log10(values["learning_rate"]) + 0.5 * math.log10(values["clip"]) + 0.04 * values["depth"]
    if memory > 50.0 or step > -0.2:
        return None
    size = math.log(values["width"]) + 1.1 * math.log(values["depth"])
    optimum = -2.3 + 0.35 * math.log10(values["batch"] / 64.0)
    off = step - optimum
    return (
        0.08
        + 0.35 * math.exp(-0.42 * size)
        + 0.04 * off**2
        + 0.01 * (math.log10(values["batch"]) - 1.7) ** 2
        + 0.3 * (values["smoothing"] - 0.11) ** 2
        + 0.004 * math.log10(values["clip"]) ** 2
    )


# -- noise, a plateau, a cliff ----------------------------------------------------------------------------------------

_PLATEAU = SearchSpace(
    (
        FloatParameter("learning_rate", 1e-6, 1.0, "log"),
        FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
        FloatParameter("keep_probability", 0.1, 1.0),
        FloatParameter("initial_sd", 1e-3, 1.0, "log"),
        IntParameter("width", 3, 12),
        IntParameter("depth", 8, 96, "log"),
        IntParameter("batch", 16, 2048, "log"),
    )
)

_MAJORITY_ERROR = 0.804


def _plateau(values: Values) -> float:
    """Error of a made-up classifier that is stuck at the majority class over most of the space, cliff included."""
    step = math.log10(values["learning_rate"] / (1 - values["momentum"])) - 0.5 * math.log10(values["batch"] / 128)
    off = step + 1.9
    if off > 0.75 or abs(math.log10(values["initial_sd"]) + 1.3) > 1.1:
        return _MAJORITY_ERROR  # over the cliff
    trained = math.exp(-0.5 * (off / 0.9) ** 2) * math.exp(-0.8 * (math.log10(values["initial_sd"]) + 1.3) ** 2)
    capacity = 1 - 0.5 * math.exp(-values["depth"] / 25.0) - 0.01 * (values["width"] - 6.0) ** 2
    dropout = 1 - 0.45 * (values["keep_probability"] - 0.66) ** 2
    return min(_MAJORITY_ERROR, 0.95 - 0.9 * trained * capacity * dropout)


def _plateau_noise(value: float) -> float:
    """Where nothing is learned the noise is that of the evaluation; elsewhere that of the training seed."""
    return 0.003 if value >= _MAJORITY_ERROR else 0.015


# -- real trainings ---------------------------------------------------------------------------------------------------

_SVHN = SearchSpace(
    (
        IntParameter("filter1_w", 3, 10),
        IntParameter("filter1_depth", 10, 64),
        IntParameter("filter2_w", 3, 10),
        IntParameter("filter2_depth", 10, 64),
        FloatParameter("keep_prob", 0.2, 1.0),
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        FloatParameter("momentum", 0.5, 1.0),
        FloatParameter("decay", 0.5, 1.0),
    )
)


@cache
def _trainings() -> tuple[Any, Any]:
    """Interpolators of logit validation accuracy and of log seconds over the unit cube.

    162 real trainings of the 2016 network on street_mnist. Both are linear radial basis functions (the interpolant of
    least "bending" whose kinks sit at the data), the accuracy on logits with a little smoothing, for the table is
    itself noisy. It is no Gaussian process with one of the compared methods' kernels.
    """
    from scipy.interpolate import RBFInterpolator

    rows = [json.loads(line) for line in _TABLE.read_text().splitlines()]
    points = np.array([_SVHN.encode({name: row[name] for name in _SVHN.names}) for row in rows])
    accuracy = np.clip([row["val_acc"] for row in rows], 0.10, 0.99)
    logits = np.log(accuracy / (1 - accuracy))
    seconds = np.log([row["train_s"] for row in rows])
    return (
        RBFInterpolator(points, logits, kernel="linear", smoothing=0.05),
        RBFInterpolator(points, seconds, kernel="linear", smoothing=0.5),
    )


def _svhn(values: Values) -> float:
    """Validation error of the 2016 network, interpolated; never better than 0.95 nor worse than chance."""
    accuracy, _ = _trainings()
    logit = float(accuracy(np.array([_SVHN.encode(values)]))[0])
    return 1.0 - min(0.95, max(0.10, 1 / (1 + math.exp(-logit))))


def _svhn_noise(value: float) -> float:
    """Standard error of an accuracy counted on 800 validation images."""
    return math.sqrt(value * (1 - value) / _VALIDATION_IMAGES)


def _svhn_duration(values: Values) -> float:
    _, seconds = _trainings()
    return math.exp(float(seconds(np.array([_SVHN.encode(values)]))[0])) / 20.0


def _floats(count: int, low: float, high: float) -> SearchSpace:
    return SearchSpace(tuple(FloatParameter(f"x{k}", low, high) for k in range(count)))


PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("hartmann6", "continuous, d = 6", _floats(6, 0.0, 1.0), _hartmann6),
        Problem("rosenbrock5", "continuous, d = 5, wide range of values", _floats(5, -2.048, 2.048), _rosenbrock),
        Problem("network", "mixed with log scales, d = 8", _NETWORK, _network, duration=_network_duration),
        Problem("boosting", "mixed with log scales, d = 6", _BOOSTING, _boosting, duration=_boosting_duration),
        Problem("discrete", "whole numbers and choices only, d = 6", _DISCRETE, _discrete),
        Problem("memory", "mixed, fails in a region, d = 6", _MEMORY, _memory),
        Problem("plateau", "noisy, plateau and cliff, d = 7", _PLATEAU, _plateau, _plateau_noise),
        Problem("svhn", "interpolated real trainings, noisy, d = 8", _SVHN, _svhn, _svhn_noise, _svhn_duration),
    )
}
"""By name, in the order of the tables."""
