"""Where trials fail: Gaussian process classification, traced once and refitted at every ask.

The model is that of Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapter 3: a latent
function f with a Gaussian process prior, and a trial that finishes with probability Phi(f): one whose f with noise of
variance 1 lies above 0. Its posterior is found by expectation propagation (`propagation.py`).

What was tried instead, and lost, stands in docs/proposer.md.
"""

import math
from collections.abc import Sequence

import gpflow
import numpy as np
import tensorflow as tf

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.fitting import MANY, Descent, Hyperparameters, log_normal, positive
from cnnbo.scheduler.optimizers.trieste.kernel import (
    SpaceLinear,
    SpaceMatern52,
    length_scale_bounds,
    length_scale_prior,
)
from cnnbo.scheduler.optimizers.trieste.propagation import ABOVE, BELOW, CensoredProcess, base_rate_tilt, log_cdf
from cnnbo.scheduler.optimizers.trieste.subset import rows_to_classify
from cnnbo.scheduler.space import SearchSpace

_VARIANCE_PRIOR = (1.0, 1.0)
"""Location and scale of the log-normal prior of the variance of f: from little more than chance to a sharp edge."""

_SLOPE_PRIOR = (1.0, 1.0)
"""The same for the slopes of f, each over the length-scale of its axis."""

_VARIANCE_BOUNDS = (math.log(0.01), math.log(1e4))


class Feasibility:
    """Where trials finish, by those that did and those that failed.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._dimension = space.dimension
        self._process = _process(space)
        local, linear = self._process.kernel.kernels
        self._descent = Descent(
            lambda: -self._process.log_posterior_density(),
            [local.lengthscales, local.variance, linear.variance],
            [*length_scale_bounds(space), _VARIANCE_BOUNDS, _VARIANCE_BOUNDS],
        )
        self._condition = tf.function(self._process.condition, input_signature=[], autograph=False)

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
        kinds = np.repeat([[ABOVE], [BELOW]], [len(good), len(bad)], axis=0)
        self._process.replace_rows(points, kinds, np.zeros_like(kinds))
        # Of f, not of its chances: what f varies by comes in addition, so that far from all trials nothing is settled.
        self._process.level.assign(base_rate_tilt(len(finished), len(failed)))
        starts = self._starts(hint, len(points))
        for attempt in (self._descent.best_of(starts), *starts):
            if self._is_usable(attempt):
                return attempt
        raise SurrogateFitError(
            f"No surrogate could be fitted to {len(failed)} failures and {len(finished)} successes."
        )

    def log_probability(self, x: tf.Tensor) -> tf.Tensor:
        """Logarithm of the probability that a trial finishes, at points (n, D), shape (n, 1)."""
        mean, variance = self._process.predict_f(x)
        return log_cdf(mean / tf.sqrt(1.0 + variance))

    def _starts(self, hint: Hyperparameters | None, count: int) -> Sequence[Hyperparameters]:
        scale = 0.5 * math.log(self._dimension)
        variances = (_VARIANCE_PRIOR[0], _SLOPE_PRIOR[0])
        usual = tuple((scale + math.log(factor),) * self._dimension + variances for factor in (0.25, 1.0))
        if hint is None or len(hint) != self._dimension + 2:
            return usual
        return (hint,) if count > MANY else (hint, *usual)

    def _is_usable(self, hyperparameters: Hyperparameters) -> bool:
        self._descent.assign(hyperparameters)
        self._process.forget_sites()
        try:
            return bool(self._condition())
        except tf.errors.InvalidArgumentError:
            return False


def _process(space: SearchSpace) -> CensoredProcess:
    local = SpaceMatern52(space)
    local.lengthscales = positive(np.ones(space.dimension), length_scale_prior(space))
    local.variance = positive(1.0, log_normal(*_VARIANCE_PRIOR))
    linear = SpaceLinear(space, local.lengthscales)
    linear.variance = positive(1.0, log_normal(*_SLOPE_PRIOR))
    noise = gpflow.likelihoods.Gaussian(1.0)
    gpflow.set_trainable(noise, False)
    return CensoredProcess(local + linear, noise, space.dimension)
