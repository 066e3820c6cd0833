"""What a point is worth: expected improvement over what is believed, times the probability that it does not fail."""

import math
from collections.abc import Mapping

import tensorflow as tf
from trieste.acquisition.function.function import log_ei_helper
from trieste.acquisition.interface import (
    AcquisitionFunction,
    AcquisitionFunctionClass,
    GreedyAcquisitionFunctionBuilder,
)
from trieste.data import Dataset
from trieste.models.gpflow.models import GaussianProcessRegression
from trieste.types import Tag

from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility

OBJECTIVE = "OBJECTIVE"
"""Tag of the surrogate of the objective."""

Models = Mapping[Tag, GaussianProcessRegression]
Datasets = Mapping[Tag, Dataset]


_RISKY = 0.25
"""Where a point is more likely to fail than three times in four …"""

_RISK_AVERSION = 10.0
"""… log P counts so many times over from there on down.

The plain product would be right for the last trial. Before, it goes back and back to a region that is sure to fail,
when an extrapolated objective looks splendid there and little is left to gain elsewhere.
"""


class FeasibleLogExpectedImprovement(AcquisitionFunctionClass):
    """log(EI(x) P(x does not fail)), less where P is low; from (n, 1, D) to (n, 1).

    Args:
        objective: surrogate of the objective, conditioned on what is observed and believed.
        feasibility: where trials finish, or None when nothing failed.
    """

    def __init__(self, objective: GaussianProcessRegression, feasibility: Feasibility | None) -> None:
        self.incumbent = tf.Variable([0.0], dtype=tf.float64, trainable=False)
        self._objective = objective
        self._feasibility = feasibility

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        points = tf.squeeze(x, -2)
        log_ei = self.log_improvement(points)
        if self._feasibility is None:
            return log_ei
        log_p = self.log_feasibility(points)
        return log_ei + log_p + _RISK_AVERSION * tf.minimum(log_p - math.log(_RISKY), 0.0)

    def log_improvement(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of EI(x) over the incumbent, in targets, at points (n, D), shape (n, 1).

        Trieste's own class for it is a compiled function within our compiled functions: slow to trace.
        """
        mean, variance = self._objective.predict(x)
        deviation = tf.sqrt(variance)
        return log_ei_helper((self.incumbent - mean) / deviation) + tf.math.log(deviation)

    def log_feasibility(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of P(no failure) at points (n, D), shape (n, 1); 0 when nothing failed."""
        if self._feasibility is None:
            return tf.zeros([tf.shape(x)[0], 1], tf.float64)
        return self._feasibility.log_probability(x)


class PendingBelieved(GreedyAcquisitionFunctionBuilder[GaussianProcessRegression]):
    """Builds `FeasibleLogExpectedImprovement` with pending points counted as observed at their predicted mean.

    Kriging believer (Ginsbourger, Le Riche and Carraro 2010): the uncertainty around a pending point goes, the mean
    stays. The incumbent is the lowest posterior mean at observed and pending points, not the lowest observation: with
    noise that is mostly luck.

    `datasets[OBJECTIVE]` holds the observations; the believed ones are added here, to the model.

    Args:
        feasibility: where trials finish, conditioned on those that did or failed; None when nothing failed.
    """

    def __init__(self, feasibility: Feasibility | None) -> None:
        self._feasibility = feasibility

    def prepare_acquisition_function(
        self, models: Models, datasets: Datasets | None = None, pending_points: tf.Tensor | None = None
    ) -> FeasibleLogExpectedImprovement:
        """Build the function; traced at its first call."""
        function = FeasibleLogExpectedImprovement(models[OBJECTIVE], self._feasibility)
        return self.update_acquisition_function(function, models, datasets, pending_points)

    def update_acquisition_function(
        self,
        function: AcquisitionFunction,
        models: Models,
        datasets: Datasets | None = None,
        pending_points: tf.Tensor | None = None,
        new_optimization_step: bool = True,
    ) -> FeasibleLogExpectedImprovement:
        """Bring the function up to date with models and pending points, without tracing it again."""
        assert isinstance(function, FeasibleLogExpectedImprovement)
        if datasets is None:
            raise ValueError("the incumbent is found among the observations: datasets are needed")
        believed = believe(models[OBJECTIVE], datasets[OBJECTIVE], pending_points)
        mean, _ = models[OBJECTIVE].predict(believed.query_points)
        function.incumbent.assign(tf.reduce_min(mean, axis=0))
        return function


def believe(model: GaussianProcessRegression, observed: Dataset, pending: tf.Tensor | None) -> Dataset:
    """Condition the model on the observations and on its own predictions at the pending points; returns both."""
    model.update(observed)
    if pending is None or len(pending) == 0:
        return observed
    mean, _ = model.predict(pending)
    both = observed + Dataset(pending, mean)
    model.update(both)
    return both
