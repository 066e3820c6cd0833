"""The surrogate of the objective: a Gaussian process over the search space, traced once and refitted at every ask.

Model and priors:

- Matern-5/2 with a length-scale for each parameter, over coordinates of the unit cube; choices are one-hot encoded.
- Length-scales have the prior of `kernel.length_scale_prior`.
- The noise is fitted, with prior LogNormal(-4, 1) for targets of variance 1, above a floor that keeps the Cholesky
  decomposition well conditioned with near-duplicate points.
"""

import math
from collections.abc import Iterable, Sequence

import gpflow
import numpy as np
import tensorflow as tf
from trieste.data import Dataset
from trieste.models.gpflow.models import GaussianProcessRegression

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.fitting import MANY, Descent, Hyperparameters, log_normal, positive
from cnnbo.scheduler.optimizers.trieste.kernel import SpaceMatern52, length_scale_bounds, length_scale_prior
from cnnbo.scheduler.space import SearchSpace

NOISE_FLOOR = 1e-5
"""Least noise variance, for targets of variance 1."""

_NOISE_PRIOR = (-4.0, 1.0)
"""Location and scale of the log-normal prior of the noise variance, for targets of variance 1."""

_VARIANCE_PRIOR = (0.0, 1.0)
_VARIANCE_BOUNDS = (math.log(0.01), math.log(100.0))
_NOISE_BOUNDS = (math.log(1e-7), math.log(4.0))


class CompiledRegression(GaussianProcessRegression):
    """Trieste's regression whose update and prediction run as graphs, traced once for any number of points.

    Args:
        model: the GPflow model.
        dimension: D of the points.
    """

    def __init__(self, model: gpflow.models.GPR, dimension: int) -> None:
        super().__init__(model, num_kernel_samples=0)
        points = tf.TensorSpec([None, dimension], tf.float64)
        targets = tf.TensorSpec([None, 1], tf.float64)
        self._graph_update = tf.function(self._trace_update, input_signature=[points, targets], autograph=False)
        self._graph_predict = tf.function(super().predict_encoded, input_signature=[points], autograph=False)

    def update_encoded(self, dataset: Dataset) -> None:
        """Replace the data, keep the hyperparameters; see Trieste."""
        self._graph_update(dataset.query_points, dataset.observations)

    def predict_encoded(self, query_points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance without noise; within a graph that is being traced, as part of it."""
        if tf.executing_eagerly():
            mean, variance = self._graph_predict(query_points)
            return mean, variance
        return super().predict_encoded(query_points)

    def _trace_update(self, points: tf.Tensor, targets: tf.Tensor) -> None:
        super().update_encoded(Dataset(points, targets))


class Surrogate:
    """One Gaussian process of fixed structure; data and hyperparameters are replaced at each ask.

    Keeping the object saves tracing its graphs again, which costs seconds and, with every trace, memory. Nothing that
    is fitted survives from one `fit` to the next.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._dimension = space.dimension
        self._model = CompiledRegression(_regression(space), self._dimension)
        parts = self._model.model
        self._descent = Descent(
            parts.training_loss,
            [parts.kernel.lengthscales, parts.kernel.variance, parts.likelihood.variance],
            [*length_scale_bounds(space), _VARIANCE_BOUNDS, _NOISE_BOUNDS],
        )

    @property
    def model(self) -> GaussianProcessRegression:
        """The Trieste model, conditioned on what `condition` was given last."""
        return self._model

    @property
    def length_scales(self) -> Points:
        """Length-scales in the unit cube, shape (D,), > 0."""
        return np.asarray(self._model.model.kernel.lengthscales.numpy())

    @property
    def noise_variance(self) -> float:
        """Variance of the noise, in squared targets."""
        return float(self._model.model.likelihood.variance.numpy())

    def fit(self, points: Points, targets: Points, hint: Hyperparameters | None) -> Hyperparameters:
        """Find the hyperparameters of highest posterior density and condition on the data.

        Args:
            points: shape (N, D), in the unit cube, N >= 1.
            targets: shape (N, 1), of mean 0 and variance about 1.
            hint: where to start beside the usual starts; the fit of an earlier ask.

        Returns:
            the hyperparameters in use, to be given as `hint` next time.

        Raises:
            SurrogateFitError: no hyperparameters, however noisy, give a usable posterior.
        """
        # `update` would decompose with the hyperparameters of the last ask, for nothing.
        for variable, value in zip(self._model.model.data, (points, targets), strict=True):
            variable.assign(value)
        starts = self._starts(hint, len(points))
        for attempt in _with_more_noise([self._descent.best_of(starts), *starts]):
            self._descent.assign(attempt)
            if self._is_usable(points, targets):
                return attempt
        raise SurrogateFitError(
            f"No surrogate could be fitted to {len(points)} observations: every covariance matrix was singular."
        )

    def condition(self, points: Points, targets: Points) -> None:
        """Replace the data, keep the hyperparameters; shapes (N, D) and (N, 1)."""
        try:
            self._model.update(Dataset(tf.constant(points), tf.constant(targets)))
        except tf.errors.InvalidArgumentError as error:
            raise SurrogateFitError("The covariance matrix of observed and pending points is singular.") from error

    def predict(self, points: Points) -> tuple[Points, Points]:
        """Mean and variance of the target without noise, shape (n, 1) each, at points of shape (n, D)."""
        mean, variance = self._model.predict(tf.constant(points))
        return mean.numpy(), variance.numpy()

    def _is_usable(self, points: Points, targets: Points) -> bool:
        try:
            self.condition(points, targets)
        except SurrogateFitError:
            return False
        mean, variance = self.predict(points)
        return bool(np.isfinite(mean).all() and np.isfinite(variance).all())

    def _starts(self, hint: Hyperparameters | None, count: int) -> list[Hyperparameters]:
        """Short and long length-scales: the posterior often has a mode of each kind, all signal or nearly all noise."""
        scale = 0.5 * math.log(self._dimension)
        usual = [(scale + math.log(factor),) * self._dimension + (0.0, _NOISE_PRIOR[0]) for factor in (0.25, 1.0)]
        if hint is None or len(hint) != self._dimension + 2:
            return usual
        return [hint] if count > MANY else [hint, *usual]


def _regression(space: SearchSpace) -> gpflow.models.GPR:
    """The GPflow model, on one made-up observation until there is data. Its mean is 0, for targets come centred."""
    kernel = SpaceMatern52(space)
    kernel.lengthscales = positive(np.ones(space.dimension), length_scale_prior(space))
    kernel.variance = positive(1.0, log_normal(*_VARIANCE_PRIOR))
    likelihood = gpflow.likelihoods.Gaussian(1.0)
    likelihood.variance = positive(0.01 + NOISE_FLOOR, log_normal(*_NOISE_PRIOR), NOISE_FLOOR)
    return gpflow.models.GPR((np.zeros((1, space.dimension)), np.zeros((1, 1))), kernel, likelihood=likelihood)


def _with_more_noise(attempts: Iterable[Hyperparameters]) -> Iterable[Hyperparameters]:
    """Each set of hyperparameters as it is, then with a jitter that saves nearly singular matrices."""
    for attempt in attempts:
        yield attempt
        for noise in (1e-3, 1e-1):
            yield _at_least(attempt, math.log(noise))


def _at_least(hyperparameters: Sequence[float], log_noise: float) -> Hyperparameters:
    return (*hyperparameters[:-1], max(hyperparameters[-1], log_noise))
