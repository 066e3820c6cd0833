"""Live problems: every evaluation really trains a small network in this process, in 0.01 to 1 s on an idle core.

An emulator of such trainings smooths their peaks away, which flatters every method. What a training comes to depends on
configuration and seed alone. The value is 1 - accuracy on a validation side that nothing was trained on, and nobody
knows it without noise.

The networks are the product's own on real digits over photos and on drawn ones, and scikit-learn's on sets that it
ships, with ranges of unreasonable width, as people write them who don't know better: of uniform draws 85 to 95 % are at
chance or come to no number.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from cnnbo.scheduler.space import Configuration, FloatParameter, IntParameter, SearchSpace
from proposing.convolutional import Convolutional, drawn_digits, street_mnist
from proposing.perceptrons import Perceptron
from proposing.problems import Values


class Trainable(Protocol):
    """A kind of network with its data."""

    def missing(self) -> str | None:
        """What it lacks on this machine, as a sentence; None where it can train."""

    def chance(self) -> float:
        """The best value that luck explains, 0 to 1."""

    def train(self, configuration: Configuration, seed: int) -> float | None:
        """Train one network.

        Args:
            configuration: of the problem's space.
            seed: of everything random, 0 <= seed < 2**31.

        Returns:
            1 - validation accuracy, or None where the training came to no number.
        """


@dataclass(frozen=True)
class LiveProblem:
    """A problem whose values come from trainings; see `Evaluable`.

    Attributes:
        name: what rows and tables call it.
        kind: what is trained on what, for tables.
        space: the search space.
        network: what trains.
    """

    name: str
    kind: str
    space: SearchSpace
    network: Trainable

    def evaluate(self, configuration: Configuration, rng: np.random.Generator) -> tuple[float | None, float | None]:
        """Train with a drawn seed; what was measured stands for the value without noise, too."""
        value = self.network.train(configuration, int(rng.integers(2**31)))
        return value, value

    def chance(self) -> float:
        """See `Evaluable.chance`."""
        return self.network.chance()

    def duration(self, values: Values) -> float:
        """One for all: what differs is that stuck and failing trainings end early."""
        return 1.0


DIGITS_SPACE: Final = SearchSpace(
    (
        IntParameter("filter1_width", 3, 6),
        IntParameter("filter1_depth", 4, 16),
        IntParameter("filter2_width", 3, 6),
        IntParameter("filter2_depth", 4, 16),
        FloatParameter("keep_probability", 0.2, 1.0),
        FloatParameter("learning_rate", 1e-5, 1.0, "log"),
        FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
        FloatParameter("decay", 0.5, 0.999, "reverse-log"),
    )
)
"""The space of `examples/digits_compare.toml`."""


def _perceptron_space(layers: tuple[int, int], rates: tuple[float, float]) -> SearchSpace:
    return SearchSpace(
        (
            FloatParameter("learning_rate", *rates, "log"),
            FloatParameter("momentum", 0.5, 0.999, "reverse-log"),
            FloatParameter("weight_decay", 1e-6, 100.0, "log"),
            IntParameter("layers", *layers),
            IntParameter("units", 4, 128, "log"),
            IntParameter("batch", 8, 256, "log"),
        )
    )


_PERCEPTRONS: Final = _perceptron_space(layers=(4, 7), rates=(1e-8, 10.0))
_DEEP_PERCEPTRONS: Final = _perceptron_space(layers=(5, 8), rates=(1e-7, 1e3))

PROBLEMS: Final[dict[str, LiveProblem]] = {
    problem.name: problem
    for problem in (
        LiveProblem("street", "svhn-cnn on street_mnist, trained, d = 8", DIGITS_SPACE, Convolutional(street_mnist)),
        LiveProblem("mlp_digits", "perceptron on digits, trained, d = 6", _PERCEPTRONS, Perceptron("load_digits")),
        LiveProblem(
            "mlp_cancer", "perceptron on cancer, trained, d = 6", _PERCEPTRONS, Perceptron("load_breast_cancer")
        ),
        LiveProblem("drawn", "svhn-cnn on drawn digits, trained, d = 8", DIGITS_SPACE, Convolutional(drawn_digits)),
        LiveProblem(
            "deep_digits", "deep perceptron on digits, trained, d = 6", _DEEP_PERCEPTRONS, Perceptron("load_digits")
        ),
    )
}
"""By name."""

DEVELOPMENT: Final = ("street", "mlp_digits", "mlp_cancer")
"""The group `live`."""

FINAL: Final = ("drawn", "deep_digits")
"""The group `live-final`, looked at once."""
