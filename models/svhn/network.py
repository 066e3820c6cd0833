"""The network of 2016, its RMSProp, and the compiled loops that train and score it. Imports TensorFlow."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cnnbo.models.svhn.chance import Score
from cnnbo.models.svhn.data import RECORD_BYTES, Fold
from cnnbo.models.svhn.layout import CLASSES, LUMA, SIDE, Digits, Images


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Nothing written to file descriptor 2 in here, from C++ either, arrives; exceptions do, they are Python's."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


# TensorFlow's complaints about GPU libraries registered twice come before it reads any log level, on every box, and
# would head the log of every trial.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _silent_stderr():
    import tensorflow as tf

Tensor = Any
"""TensorFlow ships no type information."""

_HIDDEN: Final = 1024
_INIT_STDDEV: Final = 0.1
_INIT_BIAS: Final = 0.1
_RMSPROP_EPSILON: Final = 1e-10
_READ_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a configuration of `svhn-cnn` sets; ranges as in the registry.

    Attributes:
        filter1_width, filter1_depth: side and number of the first convolution's filters.
        filter2_width, filter2_depth: the same of the second.
        keep_probability: share of the hidden units that dropout keeps while training.
        learning_rate: of RMSProp, alpha in the post of 2016.
        momentum: of RMSProp, beta there.
        decay: of RMSProp, gamma there: the share of the mean square that stays at each step.
    """

    filter1_width: int
    filter1_depth: int
    filter2_width: int
    filter2_depth: int
    keep_probability: float
    learning_rate: float
    momentum: float
    decay: float

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> "Hyperparameters":
        """Those of a trial's configuration.

        Raises:
            TypeError: a parameter is missing or unknown.
        """
        return cls(**configuration)


def batches(fold: Fold, rows: range, batch_size: int, skipped: int = 0) -> Any:
    """A `tf.data.Dataset` of some records of the fold, in its fixed order, the last batch as small as it comes out.

    Args:
        fold: where the records are.
        rows: which of them, without gaps, like `fold.training_side`.
        batch_size: records per element, >= 1.
        skipped: how many batches to leave out at the front, which are not even read; >= 0, fewer than there are.

    Returns:
        pairs of images, uint8 (B, 32, 32, 3), and digits, int32 (B,).
    """
    records = tf.data.FixedLengthRecordDataset(
        str(fold.path),
        RECORD_BYTES,
        header_bytes=(rows.start + skipped * batch_size) * RECORD_BYTES,
        footer_bytes=(len(fold.all_records) - rows.stop) * RECORD_BYTES,
        buffer_size=_READ_BUFFER_BYTES,
    )
    return records.batch(batch_size).map(_unpack).prefetch(2)


def image_batches(images: Images, digits: Digits, batch_size: int) -> Any:
    """The same form of dataset as `batches`, of images that are in memory."""
    return tf.data.Dataset.from_tensor_slices((images, digits.astype(np.int32))).batch(batch_size)


def _unpack(records: Tensor) -> tuple[Tensor, Tensor]:
    content = tf.io.decode_raw(records, tf.uint8, fixed_length=None)
    content = tf.ensure_shape(content, (None, RECORD_BYTES))
    return tf.reshape(content[:, 1:], (-1, SIDE, SIDE, 3)), tf.cast(content[:, 0], tf.int32)


def standardised_grey(images: Tensor) -> Tensor:
    """Grey images of mean 0 and variance 1, each by itself; one of a single colour becomes all zeros.

    Args:
        images: uint8, shape (B, 32, 32, 3).

    Returns:
        float32, shape (B, 32, 32, 1).
    """
    grey = tf.tensordot(tf.cast(images, tf.float32), tf.constant(LUMA), axes=1)[..., tf.newaxis]
    mean, variance = tf.nn.moments(grey, axes=(1, 2, 3), keepdims=True)
    # An 8-bit image that isn't flat has a variance far above 1e-3; below lies rounding, which must not be blown up.
    return tf.where(variance > 1e-3, (grey - mean) * tf.math.rsqrt(tf.maximum(variance, 1e-3)), 0.0)


class Network(tf.Module):  # type: ignore[misc]
    """32x32 grey → conv, ReLU, pool → conv, ReLU, pool → dense 1024, ReLU, dropout → 10 logits.

    Convolutions keep the size ("same"), pools halve it. Weights start from a truncated normal of standard deviation
    0.1, biases at 0.1. All randomness is a function of `seed`, and dropout's of the step as well, so that a run can be
    repeated, and taken up again in the middle.
    """

    def __init__(self, settings: Hyperparameters, seed: int) -> None:
        super().__init__(name="svhn_cnn")
        self._keep_probability = settings.keep_probability
        self._seed = seed % 2**31
        flat = (SIDE // 4) ** 2 * settings.filter2_depth
        shapes = (
            (settings.filter1_width, settings.filter1_width, 1, settings.filter1_depth),
            (settings.filter2_width, settings.filter2_width, settings.filter1_depth, settings.filter2_depth),
            (flat, _HIDDEN),
            (_HIDDEN, CLASSES),
        )
        self.weights = [tf.Variable(self._initial(shape, layer)) for layer, shape in enumerate(shapes)]
        self.biases = [tf.Variable(tf.fill(shape[-1:], _INIT_BIAS)) for shape in shapes]

    def _initial(self, shape: tuple[int, ...], layer: int) -> Tensor:
        # Stream 0 of the seed is the initial weights', one substream per layer; dropout has stream 1.
        seed = (self._seed, layer)
        return tf.random.stateless_truncated_normal(shape, seed, stddev=_INIT_STDDEV)

    def logits(self, images: Tensor, step: Tensor | None = None) -> Tensor:
        """Logits of each digit, shape (B, 10).

        Args:
            images: uint8, shape (B, 32, 32, 3).
            step: number of the training step, int64, for dropout; None to score, without dropout.
        """
        hidden = standardised_grey(images)
        for layer in (0, 1):
            hidden = tf.nn.conv2d(hidden, self.weights[layer], strides=1, padding="SAME")
            hidden = tf.nn.max_pool2d(tf.nn.relu(hidden + self.biases[layer]), ksize=2, strides=2, padding="SAME")
        hidden = tf.reshape(hidden, (-1, self.weights[2].shape[0]))
        hidden = tf.nn.relu(hidden @ self.weights[2] + self.biases[2])
        if step is not None:
            # Layers count from 0, steps from 1: the offset keeps the two families of seeds apart.
            seed = tf.stack([tf.cast(self._seed, tf.int64), step + len(self.weights)])
            hidden = tf.nn.experimental.stateless_dropout(hidden, rate=1 - self._keep_probability, seed=seed)
        return hidden @ self.weights[3] + self.biases[3]


class RMSProp(tf.Module):  # type: ignore[misc]
    """RMSProp as TensorFlow 1 had it (`tf.train.RMSPropOptimizer`), through the very kernel it used.

    For each weight w with gradient g, mean square s and momentum term m:

        s ← decay s + (1 - decay) g²
        m ← momentum m + learning_rate g / √(s + 1e-10)
        w ← w - m

    m starts at 0 and **s starts at 1**, so the first steps are shorter than those of Keras's RMSProp, whose s starts
    at 0 and whose 1e-10 is 1e-7.

    Source: TensorFlow 1's `python/training/rmsprop.py` (the slots, the 1e-10) and its operation `ResourceApplyRMSProp`
    (the update).
    """

    def __init__(self, settings: Hyperparameters, variables: list[Any]) -> None:
        super().__init__(name="rmsprop")
        self._settings = settings
        self._variables = variables
        self._mean_squares = [tf.Variable(tf.ones_like(variable)) for variable in variables]
        self._momenta = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    def apply(self, gradients: list[Tensor]) -> None:
        """Update the variables, given as many gradients in their order."""
        slots = zip(self._variables, self._mean_squares, self._momenta, gradients, strict=True)
        for variable, mean_square, momentum, gradient in slots:
            tf.raw_ops.ResourceApplyRMSProp(
                var=variable.handle,
                ms=mean_square.handle,
                mom=momentum.handle,
                lr=self._settings.learning_rate,
                rho=self._settings.decay,
                momentum=self._settings.momentum,
                epsilon=_RMSPROP_EPSILON,
                grad=gradient,
            )


class Trainer(tf.Module):  # type: ignore[misc]
    """Network, optimizer and step counter, with the loops over batches inside TensorFlow.

    What is minimised is the sum of the cross entropy over a batch, as in 2016. RMSProp divides by the size of the
    gradient, so the factor matters only while the mean square remembers its start at 1; with the mean in its place, the
    steps of a high decay would stay tiny for an epoch of few batches. Reported is the mean.
    """

    def __init__(self, settings: Hyperparameters, seed: int) -> None:
        super().__init__(name="trainer")
        self.network = Network(settings, seed)
        self._variables = list(self.network.trainable_variables)
        self._optimizer = RMSProp(settings, self._variables)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)

    def state(self) -> list[npt.NDArray[np.generic]]:
        """Everything that training changes: weights, biases, the optimizer's slots and the step, in a fixed order."""
        return [variable.numpy() for variable in self.variables]

    def restore(self, state: Sequence[npt.NDArray[np.generic]]) -> None:
        """Go on from what `state` gave in another process; network and seed must be the same."""
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def train(self, iterator: Any, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Take `steps` batches (int32 scalar, >= 1) from the iterator; returns mean loss and accuracy over them."""
        loss_sum, correct, seen = 0.0, 0, 0
        for _ in tf.range(steps):
            images, digits = next(iterator)
            loss, logits = self._update(images, digits)
            loss_sum += loss
            correct += _correct(logits, digits)
            seen += tf.size(digits)
        return loss_sum / tf.cast(steps, tf.float32), correct / seen

    def _update(self, images: Tensor, digits: Tensor) -> tuple[Tensor, Tensor]:
        self.step.assign_add(1)
        with tf.GradientTape() as tape:
            logits = self.network.logits(images, self.step)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=digits, logits=logits)
            total = tf.reduce_sum(losses)
        self._optimizer.apply(tape.gradient(total, self._variables))
        return tf.reduce_mean(losses), logits

    @tf.function  # type: ignore[untyped-decorator]
    def _confusion(self, dataset: Any) -> Tensor:
        table = tf.zeros((CLASSES, CLASSES), tf.int32)
        for images, digits in dataset:
            answers = tf.argmax(self.network.logits(images), axis=1, output_type=tf.int32)
            table += tf.math.confusion_matrix(digits, answers, CLASSES)
        return table

    def score(self, dataset: Any) -> Score:
        """Answer every image of a dataset of `batches`."""
        table = self._confusion(dataset).numpy()
        return Score(
            images=int(table.sum()),
            correct=int(table.trace()),
            majority=int(table.sum(axis=1).max()),
            answers=int(table.any(axis=0).sum()),
        )


def _correct(logits: Tensor, digits: Tensor) -> Tensor:
    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1, output_type=tf.int32) == digits, tf.int32))
