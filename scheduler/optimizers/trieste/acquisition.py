"""What a point is worth: augmented expected improvement, times the probability that it does not fail."""

import math

import tensorflow as tf
from trieste.acquisition.function.function import log_ei_helper
from trieste.acquisition.interface import AcquisitionFunctionClass

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility
from cnnbo.scheduler.optimizers.trieste.propagation import CensoredProcess, variable

_RISKY = 0.25
"""Where a point is more likely to fail than three times in four …"""

_RISK_AVERSION = 10.0
"""… log P counts so many times over from there on down.

The plain product would be right for the last trial. Before, it goes back and back to a region that is sure to fail,
when an extrapolated objective looks splendid there and little is left to gain elsewhere.
"""

_LEAST_VARIANCE = 1e-12
"""Of a difference of targets: rounding may make it negative next to the incumbent."""


class FeasibleLogExpectedImprovement(AcquisitionFunctionClass):
    """log(EI(x) news(x) P(x does not fail)), less where P is low; from (n, 1, D) to (n, 1).

    Where luck is expected, the improvement is that over the objective *at the incumbent*, which isn't known exactly
    either: mean and variance of the difference of the two follow from their posterior covariance (Zhou, Ma and Blaschko
    2023, arXiv 2310.05166). Next to the incumbent the two differ by nothing, so that looking there again promises
    nothing. Elsewhere the mean there is taken for what it is.

    `news` is the factor of augmented expected improvement (Huang, Allen, Notz and Zeng 2006, Global optimization of
    stochastic black-box systems via sequential kriging meta-models): the share of the difference's standard deviation
    that one trial takes away. Where nearly all that a trial shows is noise, it is near 0, and a search that has settled
    looks elsewhere instead of measuring copies of its incumbent until the last trial. Elsewhere it is 1.

    Args:
        objective: the process of the objective, conditioned on what is observed and believed.
        feasibility: where trials finish, or None when nothing failed.
    """

    def __init__(self, objective: CensoredProcess, feasibility: Feasibility | None) -> None:
        self._objective = objective
        self._feasibility = feasibility
        dimension = objective.points.shape[1]
        self._incumbent = variable([1, dimension], [1, dimension])
        self._incumbent_mean = variable([1, 1], [1, 1])
        self._incumbent_variance = variable([1, 1], [1, 1])
        self._incumbent_column = variable([1, 1], [None, 1])
        self._doubt = tf.Variable(0.0, dtype=tf.float64, trainable=False)  # 1 where luck is expected, 0 elsewhere

    def compare_with(self, incumbent: Points, expects_luck: bool) -> None:
        """Measure improvement from a point; after the objective was conditioned.

        Args:
            incumbent: shape (D,).
            expects_luck: whether to doubt what is believed of it, and what one trial more would tell.
        """
        point = tf.constant(incumbent[None])
        mean, column = self._objective.project(point)
        _, variance = self._objective.predict_f(point)
        self._incumbent.assign(point)
        self._incumbent_mean.assign(mean)
        self._incumbent_variance.assign(variance)
        self._incumbent_column.assign(column)
        self._doubt.assign(float(expects_luck))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """The value at points (n, 1, D), to be maximised."""
        points = tf.squeeze(x, -2)
        gain, variance = self._difference(points)
        value = _log_expected_improvement(gain, variance) + self._log_news(variance)
        if self._feasibility is None:
            return value
        log_p = self.log_feasibility(points)
        return value + log_p + _RISK_AVERSION * tf.minimum(log_p - math.log(_RISKY), 0.0)

    def log_improvement(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of the expected improvement over the incumbent, in targets, at points (n, D), shape (n, 1)."""
        return _log_expected_improvement(*self._difference(x))

    def _difference(self, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of how much lower than the incumbent points (n, D) are, in targets, shape (n, 1) each."""
        mean, columns = self._objective.project(points)
        own = self._objective.kernel(points, full_cov=False) - tf.reduce_sum(columns**2, axis=0)
        shared = self._objective.kernel(points, self._incumbent)
        shared -= tf.matmul(columns, self._incumbent_column, transpose_a=True)
        variance = own[:, None] + self._doubt * (self._incumbent_variance - 2.0 * shared)
        return self._incumbent_mean - mean, tf.maximum(variance, _LEAST_VARIANCE)

    def _log_news(self, variance: tf.Tensor) -> tf.Tensor:
        """Logarithm of 1 - s / sqrt(v + s^2), s^2 the variance of the noise; 0 where no luck is expected."""
        noise = self._objective.likelihood.variance
        both = tf.sqrt(variance + noise)
        # The same as a product: in the difference nothing would be left of a small v.
        return self._doubt * (tf.math.log(variance) - tf.math.log(both) - tf.math.log(both + tf.sqrt(noise)))

    def log_feasibility(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of P(no failure) at points (n, D), shape (n, 1); 0 when nothing failed."""
        if self._feasibility is None:
            return tf.zeros([tf.shape(x)[0], 1], tf.float64)
        return self._feasibility.log_probability(x)


def _log_expected_improvement(gain: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    """Logarithm of the mean of max(0, Z) for normal Z of these means and variances, same shape.

    Trieste's own class for it is a compiled function within our compiled functions: slow to trace.
    """
    deviation = tf.sqrt(variance)
    return log_ei_helper(gain / deviation) + tf.math.log(deviation)
