"""The kernel that knows what the coordinates of a search space mean, and what is believed of its length-scales."""

import math

import gpflow
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from cnnbo.scheduler.optimizers.trieste.fitting import log_normal
from cnnbo.scheduler.space import CategoricalParameter, SearchSpace

_SHORTEST_LENGTH_SCALE = 0.02
_LONGEST_LENGTH_SCALE = 200.0


def length_scale_prior(space: SearchSpace) -> tfp.distributions.Distribution:
    """LogNormal(sqrt 2 + log sqrt D, sqrt 3), wide and long: a parameter matters only as far as the trials say so.

    It grows with the diagonal of the cube, for in more dimensions points lie further apart (Hvarfner, Hellsten and
    Nardi 2024, arXiv 2402.02229).
    """
    return log_normal(math.sqrt(2.0) + 0.5 * math.log(space.dimension), math.sqrt(3.0))


def length_scale_bounds(space: SearchSpace) -> list[tuple[float, float]]:
    """Limits of the logarithm of each length-scale.

    One under half a step of an integer would make neighbouring values independent, which fits everything.
    """
    shortest = [max(_SHORTEST_LENGTH_SCALE, 0.5 / (p.cardinality or math.inf)) for p in space.parameters]
    return [(math.log(low), math.log(_LONGEST_LENGTH_SCALE)) for low in shortest]


class _Columns:
    """Features of points: numbers as they are, centred, and a column for each choice.

    Two different choices are as far apart as the two ends of an axis.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._choices = {
            d: len(parameter.choices)
            for d, parameter in enumerate(space.parameters)
            if isinstance(parameter, CategoricalParameter)
        }
        numbers = [d for d in range(space.dimension) if d not in self._choices]
        self._numbers = np.array(numbers, dtype=np.int32)  # an empty list would become a tensor of floats

    def __call__(self, points: tf.Tensor, length_scales: tf.Tensor | None = None) -> tf.Tensor:
        """(..., D) coordinates to (..., E) columns, E >= D, each over the length-scale of its parameter."""
        numbers, choices = points - 0.5, []
        if self._choices:
            numbers = tf.gather(numbers, self._numbers, axis=-1)
            choices = [_one_hot(points[..., d], count) for d, count in self._choices.items()]
        if length_scales is not None:
            numbers /= tf.gather(length_scales, self._numbers)
            choices = [block / length_scales[d] for block, d in zip(choices, self._choices, strict=True)]
        return tf.concat([numbers, *choices], axis=-1)


def _one_hot(column: tf.Tensor, count: int) -> tf.Tensor:
    chosen = tf.cast(tf.floor(column * count), tf.int32)  # bin centres are (k + 0.5) / count
    return tf.one_hot(chosen, count, dtype=column.dtype) / np.sqrt(2.0)


class SpaceMatern52(gpflow.kernels.Matern52):
    """Matern-5/2 over the cube of a search space, with one length-scale for each parameter.

    Integers are rounded before they come here (but for those of more than `search.FINE` values, rounded at the end of
    a climb). That is the rounding inside the kernel of Garrido-Merchan and Hernandez-Lobato (arXiv 1706.03673) without
    its cost: a bin that is observed holds no news, and nobody climbs along a slope that the objective doesn't have.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(lengthscales=np.ones(space.dimension))
        self._columns = _Columns(space)

    # GPflow calls this on every input before it takes distances.
    def scale(self, X: tf.Tensor | None) -> tf.Tensor | None:  # noqa: N803 - GPflow's name
        """Features over length-scales: (..., D) coordinates to (..., E) columns, E >= D."""
        return None if X is None else self._columns(X, self.lengthscales)


class SpaceLinear(gpflow.kernels.Linear):
    """Linear functions over the cube of a search space: what lies beyond an edge is believed to go on.

    A stationary kernel forgets what it learned a length-scale away from the last trial. What makes trials fail mostly
    rises all the way, though: memory with width, divergence with the learning rate.
    """

    def __init__(self, space: SearchSpace, length_scales: gpflow.Parameter) -> None:
        super().__init__()
        self._columns = _Columns(space)
        self.lengthscales = length_scales

    def K(self, X: tf.Tensor, X2: tf.Tensor | None = None) -> tf.Tensor:  # noqa: N802, N803 - GPflow's names
        """Covariance of points (n, D) and (m, D), shape (n, m)."""
        return super().K(self._scaled(X), None if X2 is None else self._scaled(X2))

    def K_diag(self, X: tf.Tensor) -> tf.Tensor:  # noqa: N802, N803 - GPflow's names
        """Variances at points (n, D), shape (n,)."""
        return super().K_diag(self._scaled(X))

    def _scaled(self, points: tf.Tensor) -> tf.Tensor:
        return self._columns(points, self.lengthscales)
