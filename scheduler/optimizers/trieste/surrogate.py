"""The surrogate: a Gaussian process over the search space, traced once and refitted at every ask.

Model and priors:

- Matern-5/2 with a length-scale for each parameter, over coordinates of the unit cube; choices are one-hot encoded.
- Length-scales have the prior LogNormal(sqrt 2 + log sqrt D, sqrt 3): it grows with the diagonal of the cube, for in
  more dimensions points lie further apart (Hvarfner, Hellsten and Nardi 2024, arXiv 2402.02229). Wide and long: a
  parameter matters only as far as the observations say so.
- The noise is fitted, with prior LogNormal(-4, 1) for targets of variance 1, above a floor that keeps the Cholesky
  decomposition well conditioned with near-duplicate points.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import gpflow
import numpy as np
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp
from trieste.data import Dataset
from trieste.models.gpflow.models import GaussianProcessRegression

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.kernel import SpaceMatern52
from cnnbo.scheduler.space import SearchSpace

Hyperparameters = tuple[float, ...]
"""Logarithms of the D length-scales, of the variance, and of the noise variance above its floor: length D + 2."""

NOISE_FLOOR = 1e-5
"""Least noise variance, for targets of variance 1."""

NOISE_PRIOR = (-4.0, 1.0)
"""Location and scale of the log-normal prior of the noise variance, for targets of variance 1."""

LABEL_NOISE_PRIOR = (-2.0, 0.5)
"""The same for labels +1 and -1. A regression that runs through every label is far too sure of what lies between."""

_VARIANCE_PRIOR = (0.0, 1.0)
_SHORTEST_LENGTH_SCALE = 0.02
_LONGEST_LENGTH_SCALE = 200.0
_MANY = 200
_HOPELESS = 1e10  # a loss above any real one: the line search steps back from where the decomposition fails


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
        noise_prior: location and scale of the log-normal prior of the noise variance.
    """

    def __init__(self, space: SearchSpace, noise_prior: tuple[float, float] = NOISE_PRIOR) -> None:
        self._noise_prior = noise_prior
        self._dimension = space.dimension
        self._bounds = _bounds(space)
        self._model = CompiledRegression(_regression(space, noise_prior), self._dimension)
        parts = self._model.model
        self._variables = [
            parameter.unconstrained_variable
            for parameter in (parts.kernel.lengthscales, parts.kernel.variance, parts.likelihood.variance)
        ]
        vector = tf.TensorSpec([self._dimension + 2], tf.float64)
        self._loss_and_gradient = tf.function(self._trace_loss, input_signature=[vector], autograph=False)

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

    def fit(
        self, points: Points, targets: Points, hint: Hyperparameters | None, prior_mean: float = 0.0
    ) -> Hyperparameters:
        """Find the hyperparameters of highest posterior density and condition on the data.

        Args:
            points: shape (N, D), in the unit cube, N >= 1.
            targets: shape (N, 1), of variance about 1.
            hint: where to start beside the usual starts; the fit of an earlier ask.
            prior_mean: the target far from all data.

        Returns:
            the hyperparameters in use, to be given as `hint` next time.

        Raises:
            SurrogateFitError: no hyperparameters, however noisy, give a usable posterior.
        """
        self._model.model.mean_function.c.assign([prior_mean])
        self._assign_data(points, targets)
        starts = self._starts(hint, len(points))
        best = min((self._descend(start) for start in starts), key=lambda result: result[0])[1]
        for attempt in _with_more_noise(itertools.chain([best], starts)):
            self._assign(attempt)
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

    def _starts(self, hint: Hyperparameters | None, count: int) -> list[Hyperparameters]:
        """Short and long length-scales: the posterior often has a mode of each kind, all signal or nearly all noise.

        With many observations it has one clear mode, where the last fit ended, and every step is dear.
        """
        noise = self._noise_prior[0]
        scale = math.log(math.sqrt(self._dimension))
        usual = [(scale + math.log(factor),) * self._dimension + (0.0, noise) for factor in (0.25, 1.0)]
        if hint is None or len(hint) != self._dimension + 2:
            return usual
        return [hint] if count > _MANY else [hint, *usual]

    def _descend(self, start: Hyperparameters) -> tuple[float, Hyperparameters]:
        low, high = np.array(self._bounds).T
        result = scipy.optimize.minimize(
            self._loss,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=self._bounds,
            options={"maxiter": 100},
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

    def _trace_loss(self, vector: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self._assign_vector(vector)
        with tf.GradientTape() as tape:
            loss = self._model.model.training_loss()
        gradients = tape.gradient(loss, self._variables)
        return loss, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

    def _assign_vector(self, vector: tf.Tensor) -> None:
        length_scales, variance, noise = self._variables
        length_scales.assign(vector[: self._dimension])
        variance.assign(vector[self._dimension])
        noise.assign(vector[self._dimension + 1])

    def _assign(self, hyperparameters: Hyperparameters) -> None:
        self._assign_vector(tf.constant(hyperparameters, tf.float64))

    def _assign_data(self, points: Points, targets: Points) -> None:
        # `update` would decompose with the hyperparameters of the last ask, for nothing.
        for variable, value in zip(self._model.model.data, (points, targets), strict=True):
            variable.assign(value)

    def _is_usable(self, points: Points, targets: Points) -> bool:
        try:
            self.condition(points, targets)
        except SurrogateFitError:
            return False
        mean, variance = self.predict(points)
        return bool(np.isfinite(mean).all() and np.isfinite(variance).all())


def _regression(space: SearchSpace, noise_prior: tuple[float, float]) -> gpflow.models.GPR:
    """The GPflow model, on one made-up observation until there is data."""
    dimension = space.dimension
    kernel = SpaceMatern52(space)
    kernel.lengthscales = _positive(np.ones(dimension), _length_scale_prior(dimension))
    kernel.variance = _positive(1.0, _log_normal(*_VARIANCE_PRIOR))
    likelihood = gpflow.likelihoods.Gaussian(1.0)
    likelihood.variance = _positive(0.01 + NOISE_FLOOR, _log_normal(*noise_prior), NOISE_FLOOR)
    data = (np.zeros((1, dimension)), np.zeros((1, 1)))
    mean = gpflow.functions.Constant(np.zeros(1))
    gpflow.set_trainable(mean, False)  # targets come centred
    return gpflow.models.GPR(data, kernel, mean_function=mean, likelihood=likelihood)


def _length_scale_prior(dimension: int) -> tfp.distributions.Distribution:
    return _log_normal(math.sqrt(2.0) + math.log(math.sqrt(dimension)), math.sqrt(3.0))


def _log_normal(location: float, scale: float) -> tfp.distributions.Distribution:
    return tfp.distributions.LogNormal(tf.constant(location, tf.float64), tf.constant(scale, tf.float64))


def _positive(
    value: float | Points, prior: tfp.distributions.Distribution, floor: float | None = None
) -> gpflow.Parameter:
    """A parameter that is searched on the logarithm of what it has above `floor`."""
    return gpflow.Parameter(value, transform=gpflow.utilities.positive(lower=floor, base="exp"), prior=prior)


def _bounds(space: SearchSpace) -> list[tuple[float, float]]:
    """Limits of the hyperparameters.

    A scale under half a step of an integer would make neighbouring values independent, which fits everything.
    """
    shortest = [max(_SHORTEST_LENGTH_SCALE, 0.5 / (p.cardinality or math.inf)) for p in space.parameters]
    length_scales = [(math.log(low), math.log(_LONGEST_LENGTH_SCALE)) for low in shortest]
    return [*length_scales, (math.log(0.01), math.log(100.0)), (math.log(1e-7), math.log(4.0))]


def _with_more_noise(attempts: Iterable[Hyperparameters]) -> Iterable[Hyperparameters]:
    """Each set of hyperparameters as it is, then with a jitter that saves nearly singular matrices."""
    for attempt in attempts:
        yield attempt
        for noise in (1e-3, 1e-1):
            yield _at_least(attempt, math.log(noise))


def _at_least(hyperparameters: Sequence[float], log_noise: float) -> Hyperparameters:
    return (*hyperparameters[:-1], max(hyperparameters[-1], log_noise))
