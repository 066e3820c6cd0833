"""A Gaussian process of which some values are known only to lie above or below a threshold.

Rows are of three kinds: *measured* (a value with Gaussian noise), *above* or *below* a threshold (the value with its
noise is known to lie there, not where). Measured rows are Gaussian sites that stay fixed. The others are found by
expectation propagation (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 3.6), with all
of them updated at once: each is replaced by a Gaussian, the *site*, of such precision and mean that the posterior has
the moments that the row itself would give it. With measured rows alone this is ordinary regression; with none it is
probit classification. GPflow has the variational approximation only, whose parameters grow with the square of the rows
and need hundreds of steps.
"""

import math

import gpflow
import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from cnnbo.scheduler.optimizers.base import Points

_SWEEPS = 60
_CLOSE = 1e-6
"""Largest change of precisions and shifts at which sweeps end."""

_DAMPING = 0.9
"""Share of its way that a site goes in a sweep, for sites that are updated at once overshoot together."""

_LEAST_PRECISION = 1e-8

MEASURED, ABOVE, BELOW = 0.0, 1.0, -1.0
"""Kinds of rows."""


class CensoredProcess(gpflow.models.GPModel):
    """The latent function f behind rows of all kinds; `noise` is a Gaussian likelihood, whose variance may be fixed.

    Args:
        kernel: of f.
        noise: what is added to f before a row is measured or compared with its threshold.
        dimension: D of the points.
    """

    def __init__(self, kernel: gpflow.kernels.Kernel, noise: gpflow.likelihoods.Gaussian, dimension: int) -> None:
        super().__init__(kernel, noise, gpflow.functions.Zero(), num_latent_gps=1)
        self._dimension = dimension
        self.points = variable([1, dimension], [None, dimension])
        self.kinds = variable([1, 1], [None, 1])
        self.targets = variable([1, 1], [None, 1])
        # Mean of f far from all rows: `level` + `tilt` standard deviations of f and noise.
        self.level = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.tilt = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        # The sites found last, as precision and precision times mean: hyperparameters nearby have sites nearby.
        self._precision = variable([1, 1], [None, 1])
        self._shift = variable([1, 1], [None, 1])
        self._weights = variable([1, 1], [None, 1])
        self._root = variable([1, 1], [None, 1])
        self._factor = variable([1, 1], [None, None])

    def replace_rows(self, points: Points, kinds: Points, targets: Points) -> None:
        """Take other rows: points (N, D), kinds (N, 1), and values or thresholds (N, 1)."""
        self.points.assign(points)
        self.kinds.assign(kinds)
        self.targets.assign(targets)
        self.forget_sites()

    def forget_sites(self) -> None:
        """Begin at sites that say nothing."""
        nothing = np.zeros_like(self.kinds.numpy())
        self._precision.assign(nothing + _LEAST_PRECISION)
        self._shift.assign(nothing)

    def prior_mean(self) -> tf.Tensor:
        """Mean of f far from all rows, a scalar."""
        origin = tf.zeros([1, self._dimension], tf.float64)
        spread = tf.sqrt(self.kernel(origin, full_cov=False)[0] + self.likelihood.variance)
        return self.level + self.tilt * spread

    def maximum_log_likelihood_objective(self) -> tf.Tensor:
        """The logarithm of the evidence, but for a constant.

        Where the sites have settled it changes with the hyperparameters only as if they were fixed (section 5.5.2), so
        slopes are taken through the Gaussian evidence of the sites, and through what each row's own likelihood makes
        of the noise.
        """
        covariance, mean = self._prior()
        precision, shift = self._settled(tf.stop_gradient(covariance), tf.stop_gradient(mean))
        self._precision.assign(precision)
        self._shift.assign(shift)
        precision, shift = self._with_noise(precision, shift)
        root, factor = _decompose(covariance, precision)
        half = tf.linalg.triangular_solve(factor, shift / root - root * mean)
        evidence = tf.reduce_sum(tf.math.log(root)) - tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))
        evidence -= 0.5 * tf.reduce_sum(half**2)
        return evidence + self._matches(tf.stop_gradient(covariance), tf.stop_gradient(mean), precision, shift)

    def condition(self) -> tf.Tensor:
        """Keep what predictions need for these rows and hyperparameters; returns whether it is finite."""
        covariance, mean = self._prior()
        precision, shift = self._settled(covariance, mean)
        self._precision.assign(precision)
        self._shift.assign(shift)
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
        mean, reduced = self.project(Xnew)
        variance = self.kernel(Xnew, full_cov=False) - tf.reduce_sum(reduced**2, axis=0)
        return mean, tf.maximum(variance, 0.0)[:, None]

    def project(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean of f at points (n, D), shape (n, 1), and what the rows take from its covariance there, shape (N, n).

        The posterior covariance of two points is their prior one less the product of their columns.
        """
        cross = self.kernel(self.points, points)
        mean = self.prior_mean() + tf.matmul(cross, self._weights, transpose_a=True)
        return mean, tf.linalg.triangular_solve(self._factor, self._root * cross)

    def _prior(self) -> tuple[tf.Tensor, tf.Tensor]:
        covariance = self.kernel(self.points)
        return covariance, self.prior_mean() + tf.zeros_like(self.targets)

    def _with_noise(self, precision: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The sites, those of measured rows as a function of the noise."""
        is_measured = self.kinds == MEASURED
        exact = 1.0 / self.likelihood.variance + tf.zeros_like(precision)
        return tf.where(is_measured, exact, precision), tf.where(is_measured, exact * self.targets, shift)

    def _matches(self, covariance: tf.Tensor, mean: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        """What the evidence has beyond that of the sites: how well each row matches its site (3.65)."""
        precision, shift = tf.stop_gradient(precision), tf.stop_gradient(shift)
        cavity_mean, cavity_variance = self._cavity(covariance, mean, precision, shift)
        z = self.kinds * (cavity_mean - self.targets) / tf.sqrt(self.likelihood.variance + cavity_variance)
        spread = cavity_variance + 1.0 / precision
        fixed = 0.5 * tf.math.log(spread) + 0.5 * (cavity_mean - shift / precision) ** 2 / spread
        return tf.reduce_sum(tf.where(self.kinds == MEASURED, tf.zeros_like(z), log_cdf(z) + fixed))

    def _settled(self, covariance: tf.Tensor, mean: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Precisions and shifts of the sites, after sweeps over all of them until they stand still."""

        def sweep(change: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            new_precision, new_shift = self._sweep(covariance, mean, precision, shift)
            moved = tf.reduce_max(tf.abs(new_precision - precision)) + tf.reduce_max(tf.abs(new_shift - shift))
            return moved, new_precision, new_shift

        def is_moving(change: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
            return change > _CLOSE

        # Hyperparameters without finite sites must not spoil the search for those that come after them.
        is_good = tf.reduce_all(tf.math.is_finite(self._precision) & tf.math.is_finite(self._shift))
        precision = tf.where(is_good, self._precision, tf.zeros_like(self._precision) + _LEAST_PRECISION)
        shift = tf.where(is_good, self._shift, tf.zeros_like(self._shift))
        precision, shift = self._with_noise(precision, shift)
        has_sites = tf.reduce_any(self.kinds != MEASURED)
        begin = (tf.where(has_sites, tf.constant(1.0, tf.float64), 0.0), precision, shift)
        shapes = (tf.TensorShape([]), tf.TensorShape([None, 1]), tf.TensorShape([None, 1]))
        _, precision, shift = tf.while_loop(is_moving, sweep, begin, shapes, maximum_iterations=_SWEEPS)
        return tf.stop_gradient(precision), tf.stop_gradient(shift)

    def _sweep(
        self, covariance: tf.Tensor, mean: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sites that give the posterior the moments of each row, as far as the other sites tell (3.54-3.59)."""
        cavity_mean, cavity_variance = self._cavity(covariance, mean, precision, shift)
        total = self.likelihood.variance + cavity_variance
        scale = tf.sqrt(total)
        z = self.kinds * (cavity_mean - self.targets) / scale
        hazard = _hazard(z)
        tilted_mean = cavity_mean + self.kinds * cavity_variance * hazard / scale
        tilted_variance = cavity_variance - cavity_variance**2 * hazard * (z + hazard) / total
        new_precision = tf.maximum(1.0 / tilted_variance - 1.0 / cavity_variance, _LEAST_PRECISION)
        new_shift = tilted_mean / tilted_variance - cavity_mean / cavity_variance
        is_measured = self.kinds == MEASURED
        return (
            tf.where(is_measured, precision, precision + _DAMPING * (new_precision - precision)),
            tf.where(is_measured, shift, shift + _DAMPING * (new_shift - shift)),
        )

    def _cavity(
        self, covariance: tf.Tensor, mean: tf.Tensor, precision: tf.Tensor, shift: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of f at each row, by all rows but itself."""
        root, factor = _decompose(covariance, precision)
        half = tf.linalg.triangular_solve(factor, root * covariance)
        # Of the posterior covariance, K - half^T half, only the diagonal and one product are needed.
        variance = (tf.linalg.diag_part(covariance) - tf.reduce_sum(half**2, axis=0))[:, None]
        pull = shift - precision * mean
        location = mean + tf.matmul(covariance, pull) - tf.matmul(half, tf.matmul(half, pull), transpose_a=True)
        # Of measured rows nobody asks, and rounding may make theirs negative.
        cavity_precision = tf.maximum(1.0 / variance - precision, 1e-12)
        return (location / variance - shift) / cavity_precision, 1.0 / cavity_precision


def variable(shape: list[int], open_shape: list[int | None]) -> tf.Variable:
    """A variable of zeros whose rows may become more or fewer."""
    return tf.Variable(np.zeros(shape), shape=tf.TensorShape(open_shape), dtype=tf.float64, trainable=False)


def log_cdf(z: tf.Tensor) -> tf.Tensor:
    """Logarithm of the standard normal's distribution function."""
    return tfp.distributions.Normal(tf.zeros([], z.dtype), tf.ones([], z.dtype)).log_cdf(z)


def _hazard(z: tf.Tensor) -> tf.Tensor:
    """Density over distribution function of the standard normal; the slope of `log_cdf`."""
    return tf.exp(-0.5 * z**2 - 0.5 * math.log(2.0 * math.pi) - log_cdf(z))


def _decompose(covariance: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Root of the weights (n, 1), and the Cholesky factor of I + root covariance root, whose eigenvalues are >= 1."""
    root = tf.sqrt(weight)
    identity = tf.eye(tf.shape(covariance)[0], dtype=covariance.dtype)
    return root, tf.linalg.cholesky(identity + root * covariance * tf.transpose(root))


def base_rate_tilt(above: int, below: int) -> float:
    """How many standard deviations above a threshold the mean of what lies above it `above` times in all must be.

    By Jeffreys' prior half a row of each kind is counted in addition, so that few rows settle nothing.
    """
    return float(scipy.stats.norm.ppf((above + 0.5) / (above + below + 1.0)))
