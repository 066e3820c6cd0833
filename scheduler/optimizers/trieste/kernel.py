"""The kernel that knows what the coordinates of a search space mean."""

import gpflow
import numpy as np
import tensorflow as tf

from cnnbo.scheduler.space import CategoricalParameter, SearchSpace


class SpaceMatern52(gpflow.kernels.Matern52):
    """Matern-5/2 over the cube of a search space, with one length-scale for each parameter.

    Choices become one-hot columns, scaled so that two different choices are as far apart as the two ends of an axis.

    Integers are rounded before they come here: whoever asks the surrogate asks it at canonical points. That is the
    rounding inside the kernel of Garrido-Merchan and Hernandez-Lobato (arXiv 1706.03673) without its cost: a bin that
    is observed holds no news, and nobody climbs along a slope that the objective doesn't have.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(lengthscales=np.ones(space.dimension))
        counts = {
            d: len(parameter.choices)
            for d, parameter in enumerate(space.parameters)
            if isinstance(parameter, CategoricalParameter)
        }
        self._numbers = [d for d in range(space.dimension) if d not in counts]
        self._choices = counts

    # GPflow calls this on every input before it takes distances.
    def scale(self, X: tf.Tensor | None) -> tf.Tensor | None:  # noqa: N803 - GPflow's name
        """Features over length-scales: (..., D) coordinates to (..., E) columns, E >= D."""
        if X is None:
            return None
        if not self._choices:
            return X / self.lengthscales
        blocks = [tf.gather(X, self._numbers, axis=-1) / tf.gather(self.lengthscales, self._numbers)]
        blocks += [self._one_hot(X[..., d], count) / self.lengthscales[d] for d, count in self._choices.items()]
        return tf.concat(blocks, axis=-1)

    @staticmethod
    def _one_hot(column: tf.Tensor, count: int) -> tf.Tensor:
        chosen = tf.cast(tf.floor(column * count), tf.int32)  # bin centres are (k + 0.5) / count
        return tf.one_hot(chosen, count, dtype=column.dtype) / np.sqrt(2.0)
