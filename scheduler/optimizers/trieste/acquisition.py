"""What a point is worth: expected improvement over what is believed, times the probability that it does not fail."""

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
    """log(EI(x) P(x does not fail)), less where P is low; from (n, 1, D) to (n, 1).

    The improvement is that over the objective *at the incumbent*, which isn't known exactly either: mean and variance
    of the difference of the two follow from their posterior covariance (Zhou, Ma and Blaschko 2023, arXiv 2310.05166).
    Next to the incumbent the two differ by nothing, so that looking there again promises nothing.

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

    def compare_with(self, incumbent: Points) -> None:
        """Measure improvement from this point, shape (D,); after the objective was conditioned."""
        point = tf.constant(incumbent[None])
        mean, column = self._objective.project(point)
        _, variance = self._objective.predict_f(point)
        self._incumbent.assign(point)
        self._incumbent_mean.assign(mean)
        self._incumbent_variance.assign(variance)
        self._incumbent_column.assign(column)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """The value at points (n, 1, D), to be maximised."""
        points = tf.squeeze(x, -2)
        log_ei = self.log_improvement(points)
        if self._feasibility is None:
            return log_ei
        log_p = self.log_feasibility(points)
        return log_ei + log_p + _RISK_AVERSION * tf.minimum(log_p - math.log(_RISKY), 0.0)

    def log_improvement(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of the expected improvement over the incumbent, in targets, at points (n, D), shape (n, 1).

        Trieste's own class for it is a compiled function within our compiled functions: slow to trace.
        """
        mean, columns = self._objective.project(x)
        own = self._objective.kernel(x, full_cov=False) - tf.reduce_sum(columns**2, axis=0)
        shared = self._objective.kernel(x, self._incumbent)
        shared -= tf.matmul(columns, self._incumbent_column, transpose_a=True)
        variance = own[:, None] + self._incumbent_variance - 2.0 * shared
        deviation = tf.sqrt(tf.maximum(variance, _LEAST_VARIANCE))
        return log_ei_helper((self._incumbent_mean - mean) / deviation) + tf.math.log(deviation)

    def log_feasibility(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of P(no failure) at points (n, D), shape (n, 1); 0 when nothing failed."""
        if self._feasibility is None:
            return tf.zeros([tf.shape(x)[0], 1], tf.float64)
        return self._feasibility.log_probability(x)
