"""The kernel that knows what the coordinates of a search space mean."""

from collections.abc import Sequence

import gpflow
import numpy as np
import tensorflow as tf

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.distinct import bin_centres
from cnnbo.scheduler.space import CategoricalParameter, IntParameter, Parameter, SearchSpace

FINE = 200
"""An integer of more values than this counts as real: its steps are far below any length-scale."""


def coarse_centres(parameter: Parameter) -> tuple[float, ...] | None:
    """The canonical coordinates of a choice or a coarse integer, rising; None for what counts as real."""
    match parameter:
        case CategoricalParameter():
            return bin_centres(parameter)
        case IntParameter() if parameter.high - parameter.low < FINE:
            return bin_centres(parameter)
        case _:
            return None


class SpaceMatern52(gpflow.kernels.Matern52):
    """Matern-5/2 over the cube of a search space, with one length-scale for each parameter.

    Integers are rounded inside the kernel (Garrido-Merchan and Hernandez-Lobato, arXiv 1706.03673): the surrogate is
    flat within a bin, as the objective is, and knows that a bin already observed holds no news. Choices become one-hot
    columns, scaled so that two different choices are as far apart as the two ends of an axis.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(lengthscales=np.ones(space.dimension))
        centres = [coarse_centres(parameter) for parameter in space.parameters]
        is_choice = [isinstance(parameter, CategoricalParameter) for parameter in space.parameters]
        coordinates = range(space.dimension)
        self._reals = [d for d in coordinates if centres[d] is None]
        self._integers = [d for d in coordinates if centres[d] is not None and not is_choice[d]]
        self._choices = [d for d in coordinates if is_choice[d]]
        self._integer_centres = _table([centres[d] or () for d in self._integers])
        self._choice_centres = _table([centres[d] or () for d in self._choices])

    # GPflow calls this on every input before it takes distances.
    def scale(self, X: tf.Tensor | None) -> tf.Tensor | None:  # noqa: N803 - GPflow's name
        """Features over length-scales: (..., D) coordinates to (..., E) columns, E >= D."""
        if X is None:
            return None
        blocks = [self._scaled_reals(X)] if self._reals else []
        if self._integers:
            blocks.append(self._scaled_integers(X))
        if self._choices:
            blocks.append(self._scaled_choices(X))
        return tf.concat(blocks, axis=-1)

    def _scaled_reals(self, x: tf.Tensor) -> tf.Tensor:
        return tf.gather(x, self._reals, axis=-1) / tf.gather(self.lengthscales, self._reals)

    def _scaled_integers(self, x: tf.Tensor) -> tf.Tensor:
        chosen = _one_hot_of_nearest(tf.gather(x, self._integers, axis=-1), self._integer_centres)
        rounded = tf.reduce_sum(chosen * np.where(np.isinf(self._integer_centres), 0.0, self._integer_centres), axis=-1)
        return rounded / tf.gather(self.lengthscales, self._integers)

    def _scaled_choices(self, x: tf.Tensor) -> tf.Tensor:
        chosen = _one_hot_of_nearest(tf.gather(x, self._choices, axis=-1), self._choice_centres) / np.sqrt(2.0)
        scaled = chosen / tf.gather(self.lengthscales, self._choices)[:, None]
        return tf.reshape(scaled, tf.concat([tf.shape(x)[:-1], [self._choice_centres.size]], 0))


def _table(rows: Sequence[Sequence[float]]) -> Points:
    """The rows as a matrix, the short ones filled up with infinity, which is nearest to nothing."""
    table = np.full((len(rows), max((len(row) for row in rows), default=0)), np.inf)
    for k, row in enumerate(rows):
        table[k, : len(row)] = row
    return table


def _one_hot_of_nearest(columns: tf.Tensor, centres: Points) -> tf.Tensor:
    """Which centre each coordinate is nearest to: columns (..., C), centres (C, K), result (..., C, K)."""
    nearest = tf.argmin(tf.abs(columns[..., None] - centres), axis=-1)
    return tf.one_hot(nearest, centres.shape[1], dtype=columns.dtype)
