"""Where trials fail: Gaussian process classification, traced once and refitted at every ask.

The model is that of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapter 3: a latent
function f with a Gaussian process prior, and a trial that finishes with probability Phi(f). Its posterior is found by
expectation propagation (section 3.6 there), with all sites updated at once: each label is replaced by a Gaussian, the
*site*, of such precision and mean that the posterior of f has the moments that the label itself would give it. GPflow
has the variational approximation only, whose parameters grow with the square of the trials and need hundreds of steps.

What was tried instead, and lost, stands in docs/proposer.md.
"""

import math
from collections.abc import Sequence

import gpflow
import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.fitting import MANY, Descent, Hyperparameters, log_normal, positive
from cnnbo.scheduler.optimizers.trieste.kernel import (
    SpaceLinear,
    SpaceMatern52,
    length_scale_bounds,
    length_scale_prior,
)
from cnnbo.scheduler.optimizers.trieste.subset import rows_to_classify
from cnnbo.scheduler.space import SearchSpace

_VARIANCE_PRIOR = (1.0, 1.0)
"""Location and scale of the log-normal prior of the variance of f: from little more than chance to a sharp edge."""

_SLOPE_PRIOR = (1.0, 1.0)
"""The same for the slopes of f, each over the length-scale of its axis."""

_VARIANCE_BOUNDS = (math.log(0.01), math.log(1e4))
_SWEEPS = 60
_CLOSE = 1e-6  # of precisions and shifts, when sweeps end
_DAMPING = 0.9  # sites that are updated at once overshoot together
_LEAST_PRECISION = 1e-8


class ExpectationPropagation(gpflow.models.GPModel):
    """Gaussian process classification with the probit likelihood, by expectation propagation.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        local = SpaceMatern52(space)
        local.lengthscales = positive(np.ones(space.dimension), length_scale_prior(space))
        local.variance = positive(1.0, log_normal(*_VARIANCE_PRIOR))
        linear = SpaceLinear(space, local.lengthscales)
        linear.variance = positive(1.0, log_normal(*_SLOPE_PRIOR))
        mean = gpflow.functions.Constant(np.zeros(1))
        gpflow.set_trainable(mean, False)
        super().__init__(local + linear, gpflow.likelihoods.Bernoulli(), mean, num_latent_gps=1)
        self.points = _variable([1, space.dimension], [None, space.dimension])
        self.labels = _variable([1, 1], [None, 1])
        # The sites found last, as precision and precision times mean: hyperparameters nearby have sites nearby.
        self.precision = _variable([1, 1], [None, 1])
        self.shift = _variable([1, 1], [None, 1])
        self._weights = _variable([1, 1], [None, 1])
        self._root = _variable([1, 1], [None, 1])
        self._factor = _variable([1, 1], [None, None])

    def forget_sites(self) -> None:
        """Begin at sites that say nothing; after new data."""
        nothing = np.zeros_like(self.labels.numpy())
        self.precision.assign(nothing + _LEAST_PRECISION)
        self.shift.assign(nothing)

    def maximum_log_likelihood_objective(self) -> tf.Tensor:
        """The logarithm of the evidence.

        Where the sites have settled it changes with the hyperparameters only as if they were fixed (section 5.5.2), so
        slopes are taken through the Gaussian evidence of the sites alone.
        """
        covariance, mean = self.kernel(self.points), self.mean_function(self.points)
        precision, shift = self._settled(tf.stop_gradient(covariance), mean)
        self.precision.assign(precision)
        self.shift.assign(shift)
        root, factor = _decompose(covariance, precision)
        residual = shift / root - root * mean
        half = tf.linalg.triangular_solve(factor, residual)
        evidence = tf.reduce_sum(tf.math.log(root)) - tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))
        evidence -= 0.5 * tf.reduce_sum(half**2)
        cavity_mean, cavity_variance = self._cavity(tf.stop_gradient(covariance), mean, precision, shift)
        z = self.labels * cavity_mean / tf.sqrt(1.0 + cavity_variance)
        spread = cavity_variance + 1.0 / precision
        matches = _log_cdf(z) + 0.5 * tf.math.log(spread) + 0.5 * (cavity_mean - shift / precision) ** 2 / spread
        return evidence + tf.stop_gradient(tf.reduce_sum(matches))

    def condition(self) -> tf.Tensor:
        """Keep what predictions need for these data and hyperparameters; returns whether it is finite."""
        covariance, mean = self.kernel(self.points), self.mean_function(self.points)
        precision, shift = self._settled(covariance, mean)
        root, factor = _decompose(covariance, precision)
        residual = shift / root - root * mean
        self._weights.assign(root * tf.linalg.cholesky_solve(factor, residual))
        self._root.assign(root)
        self._factor.assign(factor)
        return tf.reduce_all(tf.math.is_finite(self._weights)) & tf.reduce_all(tf.math.is_finite(factor))

    def predict_f(
        self,
        Xnew: tf.Tensor,  # noqa: N803 - GPflow's name
        full_cov: bool = False,
        full_output_cov: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of f at points (n, D), shape (n, 1) each; as `condition` left it."""
        if full_cov or full_output_cov:
            raise NotImplementedError("only the variances at the points are known")
        cross = self.kernel(self.points, Xnew)
        mean = self.mean_function(Xnew) + tf.matmul(cross, self._weights, transpose_a=True)
        reduced = tf.linalg.triangular_solve(self._factor, self._root * cross)
        variance = self.kernel(Xnew, full_cov=False) - tf.reduce_sum(reduced**2, axis=0)
        return mean, tf.maximum(variance, 0.0)[:, None]

    def _settled(self, covariance: tf.Tensor, mean: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Precisions and shifts of the sites, after sweeps over all of them until they stand still."""

        def sweep(change: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            new_precision, new_shift = self._sweep(covariance, mean, precision, shift)
            moved = tf.reduce_max(tf.abs(new_precision - precision)) + tf.reduce_max(tf.abs(new_shift - shift))
            return moved, new_precision, new_shift

        def is_moving(change: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
            return change > _CLOSE

        # Hyperparameters without finite sites must not spoil the search for those that come after them.
        is_good = tf.reduce_all(tf.math.is_finite(self.precision) & tf.math.is_finite(self.shift))
        precision = tf.where(is_good, self.precision, tf.zeros_like(self.precision) + _LEAST_PRECISION)
        shift = tf.where(is_good, self.shift, tf.zeros_like(self.shift))
        begin = (tf.constant(1.0, tf.float64), precision, shift)
        shapes = (tf.TensorShape([]), tf.TensorShape([None, 1]), tf.TensorShape([None, 1]))
        _, precision, shift = tf.while_loop(is_moving, sweep, begin, shapes, maximum_iterations=_SWEEPS)
        return tf.stop_gradient(precision), tf.stop_gradient(shift)

    def _sweep(
        self, covariance: tf.Tensor, mean: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sites that give the posterior the moments of each label, as far as the other sites tell (3.54-3.59)."""
        cavity_mean, cavity_variance = self._cavity(covariance, mean, precision, shift)
        scale = tf.sqrt(1.0 + cavity_variance)
        z = self.labels * cavity_mean / scale
        hazard = _hazard(z)
        tilted_mean = cavity_mean + self.labels * cavity_variance * hazard / scale
        tilted_variance = cavity_variance - cavity_variance**2 * hazard * (z + hazard) / (1.0 + cavity_variance)
        new_precision = tf.maximum(1.0 / tilted_variance - 1.0 / cavity_variance, _LEAST_PRECISION)
        new_shift = tilted_mean / tilted_variance - cavity_mean / cavity_variance
        return (
            precision + _DAMPING * (new_precision - precision),
            shift + _DAMPING * (new_shift - shift),
        )

    def _cavity(
        self, covariance: tf.Tensor, mean: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of f at each trial, by all trials but itself."""
        root, factor = _decompose(covariance, precision)
        half = tf.linalg.triangular_solve(factor, root * covariance)
        # Of the posterior covariance, K - half^T half, only the diagonal and one product are needed.
        variance = (tf.linalg.diag_part(covariance) - tf.reduce_sum(half**2, axis=0))[:, None]
        pull = shift - precision * mean
        location = mean + tf.matmul(covariance, pull) - tf.matmul(half, tf.matmul(half, pull), transpose_a=True)
        cavity_precision = 1.0 / variance - precision
        return (location / variance - shift) / cavity_precision, 1.0 / cavity_precision


class Feasibility:
    """Where trials finish, by those that did and those that failed.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._dimension = space.dimension
        self._model = ExpectationPropagation(space)
        local, linear = self._model.kernel.kernels
        self._descent = Descent(
            lambda: -self._model.log_posterior_density(),
            [local.lengthscales, local.variance, linear.variance],
            [*length_scale_bounds(space), _VARIANCE_BOUNDS, _VARIANCE_BOUNDS],
        )
        self._condition = tf.function(self._model.condition, input_signature=[], autograph=False)

    def fit(self, finished: Points, failed: Points, hint: Hyperparameters | None) -> Hyperparameters:
        """Find the hyperparameters of highest posterior density and condition on the trials.

        Of more than `subset.CLASSIFIED_AT_MOST` trials a spread over their age is fitted.

        Args:
            finished: points of trials that gave a value, shape (N, D).
            failed: points of trials that failed, shape (F, D), N + F >= 1.
            hint: where to start beside the usual starts; the fit of an earlier ask.

        Returns:
            the hyperparameters in use, to be given as `hint` next time.

        Raises:
            SurrogateFitError: no hyperparameters give a usable posterior.
        """
        good, bad = rows_to_classify(len(finished), len(failed))
        points = np.concatenate([finished[good], failed[bad]])
        self._model.points.assign(points)
        self._model.labels.assign(np.concatenate([np.ones((len(good), 1)), -np.ones((len(bad), 1))]))
        self._model.mean_function.c.assign([_prior_mean(len(finished), len(failed))])
        self._model.forget_sites()
        starts = self._starts(hint, len(points))
        for attempt in (self._descent.best_of(starts), *starts):
            if self._is_usable(attempt):
                return attempt
        raise SurrogateFitError(
            f"No surrogate could be fitted to {len(failed)} failures and {len(finished)} successes."
        )

    def log_probability(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of the probability that a trial finishes, at points (n, D), shape (n, 1)."""
        mean, variance = self._model.predict_f(x)
        return _log_cdf(mean / tf.sqrt(1.0 + variance))

    def _starts(self, hint: Hyperparameters | None, count: int) -> Sequence[Hyperparameters]:
        scale = 0.5 * math.log(self._dimension)
        variances = (_VARIANCE_PRIOR[0], _SLOPE_PRIOR[0])
        usual = tuple((scale + math.log(factor),) * self._dimension + variances for factor in (0.25, 1.0))
        if hint is None or len(hint) != self._dimension + 2:
            return usual
        return (hint,) if count > MANY else (hint, *usual)

    def _is_usable(self, hyperparameters: Hyperparameters) -> bool:
        self._descent.assign(hyperparameters)
        self._model.forget_sites()
        try:
            return bool(self._condition())
        except tf.errors.InvalidArgumentError:
            return False


def _prior_mean(finished: int, failed: int) -> float:
    """What f is far from all trials: the share that finished, by Jeffreys' prior half a success and half a failure.

    So one failure in few trials settles nothing.
    """
    return float(scipy.stats.norm.ppf((finished + 0.5) / (finished + failed + 1.0)))


def _variable(shape: list[int], open_shape: list[int | None]) -> tf.Variable:
    return tf.Variable(np.zeros(shape), shape=tf.TensorShape(open_shape), dtype=tf.float64, trainable=False)


def _log_cdf(z: tf.Tensor) -> tf.Tensor:
    return tfp.distributions.Normal(tf.zeros([], z.dtype), tf.ones([], z.dtype)).log_cdf(z)


def _hazard(z: tf.Tensor) -> tf.Tensor:
    """Density over distribution function of the standard normal; the slope of `_log_cdf`."""
    return tf.exp(-0.5 * z**2 - 0.5 * math.log(2.0 * math.pi) - _log_cdf(z))


def _decompose(covariance: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Root of the weights (n, 1), and the Cholesky factor of I + root covariance root, whose eigenvalues are >= 1."""
    root = tf.sqrt(weight)
    identity = tf.eye(tf.shape(covariance)[0], dtype=covariance.dtype)
    return root, tf.linalg.cholesky(identity + root * covariance * tf.transpose(root))
