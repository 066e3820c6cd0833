"""Hyperparameters of highest posterior density, for any GPflow model: traced once, descended at each ask."""

from collections.abc import Callable, Sequence

import gpflow
import numpy as np
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp

from cnnbo.scheduler.optimizers.base import Points

Hyperparameters = tuple[float, ...]
"""What is fitted, on the scales on which it is searched: the unconstrained values of GPflow's parameters."""

MANY = 200
"""With more trials than this the posterior has one clear mode, where the last fit ended, and every step is dear."""

_BRIEF = 12
_LONG = 100
_HOPELESS = 1e10  # a loss above any real one: the line search steps back from where the decomposition fails


class Descent:
    """Descends a loss over the parameters of a model, by L-BFGS-B.

    Args:
        loss: minus the logarithm of the posterior density, as a graph over `parameters` and whatever data the model
            holds; data may change between calls, their rank not.
        parameters: what is fitted.
        bounds: limits of each value, in the order of `Hyperparameters`; may be replaced between descents.
    """

    def __init__(
        self,
        loss: Callable[[], tf.Tensor],
        parameters: Sequence[gpflow.Parameter],
        bounds: Sequence[tuple[float, float]],
    ) -> None:
        self._graph = loss
        self._variables = [parameter.unconstrained_variable for parameter in parameters]
        self.bounds = bounds
        vector = tf.TensorSpec([len(bounds)], tf.float64)
        self._loss_and_gradient = tf.function(self._trace, input_signature=[vector], autograph=False)

    def best_of(self, starts: Sequence[Hyperparameters]) -> Hyperparameters:
        """Where the descent from the best start ends; a few steps from each of them tell which one that is."""
        brief = [self._descend(start, _BRIEF) for start in starts]
        _, best = min(brief, key=lambda end: end[0])
        return self._descend(best, _LONG)[1]

    def assign(self, hyperparameters: Hyperparameters) -> None:
        """Put hyperparameters into the model."""
        self._assign(tf.constant(hyperparameters, tf.float64))

    def _descend(self, start: Hyperparameters, steps: int) -> tuple[float, Hyperparameters]:
        low, high = np.array(self.bounds).T
        result = scipy.optimize.minimize(
            self._loss,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=self.bounds,
            options={"maxiter": steps},
        )
        return float(result.fun), tuple(result.x.tolist())

    def _loss(self, vector: Points) -> tuple[float, Points]:
        try:
            loss, gradient = self._loss_and_gradient(tf.constant(vector))
        except tf.errors.InvalidArgumentError:  # the Cholesky decomposition failed
            return _HOPELESS, np.zeros_like(vector)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            return _HOPELESS, np.zeros_like(vector)
        return float(loss), gradient.numpy()

    def _trace(self, vector: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self._assign(vector)
        with tf.GradientTape() as tape:
            loss = self._graph()
        gradients = tape.gradient(loss, self._variables)
        return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

    def _assign(self, vector: tf.Tensor) -> None:
        start = 0
        for variable in self._variables:
            size = int(np.prod(variable.shape, dtype=int))
            variable.assign(tf.reshape(vector[start : start + size], variable.shape))
            start += size


def positive(
    value: float | Points, prior: tfp.distributions.Distribution, floor: float | None = None
) -> gpflow.Parameter:
    """A parameter that is searched on the logarithm of what it has above `floor`."""
    return gpflow.Parameter(value, transform=gpflow.utilities.positive(lower=floor, base="exp"), prior=prior)


def log_normal(location: float | tf.Variable, scale: float) -> tfp.distributions.Distribution:
    """The distribution of a positive number whose logarithm is normal, in double precision.

    A variable as location may change between fits.
    """
    located = location if isinstance(location, tf.Variable) else tf.constant(location, tf.float64)
    return tfp.distributions.LogNormal(located, tf.constant(scale, tf.float64))
