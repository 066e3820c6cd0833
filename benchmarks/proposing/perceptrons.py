"""scikit-learn's multi-layer perceptrons on the sets that it ships, as live problems train them."""

import warnings
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cnnbo.models.svhn.chance import best_of_luck
from cnnbo.scheduler.space import Configuration

_EPOCHS: Final = 1
_TRAINING_SHARE: Final = 0.6

Inputs = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


class Perceptron:
    """Networks trained by stochastic gradient descent for one epoch.

    Args:
        data: name of a loader in `sklearn.datasets`.
    """

    def __init__(self, data: str) -> None:
        self._data = data

    def missing(self) -> str | None:
        """See `Trainable.missing`."""
        return None if find_spec("sklearn") else "scikit-learn is not installed here: pip install scikit-learn"

    def chance(self) -> float:
        """See `Trainable.chance`."""
        *_, answers = self._sides
        return 1.0 - best_of_luck(int(np.bincount(answers).max()), len(answers))

    def train(self, configuration: Configuration, seed: int) -> float | None:
        """See `Trainable.train`."""
        inputs, labels, held_out, answers = self._sides
        network = _network(dict(configuration), seed)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # it would like more epochs
            try:
                network.fit(inputs, labels)
                return 1.0 - float(network.score(held_out, answers))
            except ValueError:
                # The weights are no numbers any more.
                return None

    @cached_property
    def _sides(self) -> tuple[Inputs, Labels, Inputs, Labels]:
        """Training inputs (N, K) and labels (N,), then those of the validation side; standardised, in random order."""
        import sklearn.datasets

        inputs, labels = getattr(sklearn.datasets, self._data)(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        inputs, labels = inputs[order], labels[order]
        cut = int(_TRAINING_SHARE * len(labels))
        # Some pixels are always dark.
        inputs = (inputs - inputs[:cut].mean(axis=0)) / (inputs[:cut].std(axis=0) + 1e-9)
        return inputs[:cut], labels[:cut], inputs[cut:], labels[cut:]


def _network(values: dict[str, Any], seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (values["units"],) * values["layers"],
        solver="sgd",
        alpha=values["weight_decay"],
        batch_size=values["batch"],
        learning_rate_init=values["learning_rate"],
        momentum=values["momentum"],
        max_iter=_EPOCHS,
        random_state=seed,
    )
