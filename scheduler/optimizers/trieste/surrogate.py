"""The surrogate of the objective: a Gaussian process over the search space, traced once and refitted at every ask.

Model and priors:

- Matern-5/2 with a length-scale for each parameter, over coordinates of the unit cube; choices are one-hot encoded.
- Length-scales have the prior of `kernel.length_scale_prior`.
- The noise is fitted, with prior LogNormal(-4, 1) for targets of variance 1, above a floor that keeps the Cholesky
  decomposition well conditioned with near-duplicate points. Where some trials are at chance the prior is
  LogNormal(-2, 1).
- A trial at chance says that the target with its noise lies at or above a bound (a Tobit model; by expectation
  propagation, `propagation.py`). Far from all trials a target is believed to lie there as often as trials did. With the
  bound as a value instead, every success would be a spike on a plain that is known exactly, and with a mean of 0 what
  nobody has tried would look better than most of what was tried: the corners of the cube.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import gpflow
import numpy as np
import tensorflow as tf

from cnnbo.scheduler.errors import SurrogateFitError
from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.optimizers.trieste.fitting import MANY, Descent, Hyperparameters, log_normal, positive
from cnnbo.scheduler.optimizers.trieste.kernel import SpaceMatern52, length_scale_bounds, length_scale_prior
from cnnbo.scheduler.optimizers.trieste.propagation import ABOVE, MEASURED, CensoredProcess
from cnnbo.scheduler.space import SearchSpace

NOISE_FLOOR = 1e-5
"""Least noise variance, for targets of variance 1."""

_NOISE_LOCATION = -4.0
_NOISE_SCALE = 1.0
"""Location and scale of the log-normal prior of the noise variance, for targets of variance 1."""

_NOISE_LOCATION_OF_LUCK = -2.0
"""The location where some trials are at chance.

What may learn nothing at all depends on luck throughout: the same configuration, trained again, may come to twice as
much or to nothing.
"""

_VARIANCE_PRIOR = (0.0, 1.0)
_VARIANCE_BOUNDS = (math.log(0.01), math.log(100.0))
_NOISE_BOUNDS = (math.log(1e-7), math.log(4.0))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the surrogate is fitted to.

    Attributes:
        points: of trials with a value, shape (N, D), in the unit cube.
        targets: theirs, shape (N, 1), of variance about 1.
        censored: points of trials at chance, shape (C, D).
        bounds: targets at or above which theirs lie, shape (C, 1).
        tilt: how many standard deviations above the bounds a target is believed to lie far from all trials, by how
            often trials came to chance (`base_rate_tilt`); pending points change nothing in it.
    """

    points: Points
    targets: Points
    censored: Points
    bounds: Points
    tilt: float = 0.0

    @classmethod
    def of(cls, points: Points, targets: Points) -> "Evidence":
        """Return the evidence of trials that all have a value."""
        return cls(points, targets, points[:0], targets[:0])

    def __len__(self) -> int:
        return len(self.points) + len(self.censored)

    def believing(self, points: Points, targets: Points) -> "Evidence":
        """Return this with further points, (P, D), as if they had given these targets, (P, 1)."""
        both = np.concatenate([self.points, points]), np.concatenate([self.targets, targets])
        return replace(self, points=both[0], targets=both[1])


class Surrogate:
    """One Gaussian process of fixed structure; data and hyperparameters are replaced at each ask.

    Keeping the object saves tracing its graphs again, which costs seconds and, with every trace, memory. Nothing that
    is fitted survives from one `fit` to the next.

    Args:
        space: the search space, of dimension D.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._dimension = space.dimension
        self._process = _process(space)
        kernel, noise = self._process.kernel, self._process.likelihood
        self._noise_location = tf.Variable(_NOISE_LOCATION, dtype=tf.float64, trainable=False)
        noise.variance = positive(0.01 + NOISE_FLOOR, log_normal(self._noise_location, _NOISE_SCALE), NOISE_FLOOR)
        self._descent = Descent(
            lambda: -self._process.log_posterior_density(),
            [kernel.lengthscales, kernel.variance, noise.variance],
            [*length_scale_bounds(space), _VARIANCE_BOUNDS, _NOISE_BOUNDS],
        )
        self._condition = tf.function(self._process.condition, input_signature=[], autograph=False)
        points = tf.TensorSpec([None, space.dimension], tf.float64)
        self._predict = tf.function(self._process.predict_f, input_signature=[points], autograph=False)

    @property
    def process(self) -> CensoredProcess:
        """The Gaussian process, conditioned on what `condition` was given last."""
        return self._process

    @property
    def length_scales(self) -> Points:
        """Length-scales in the unit cube, shape (D,), > 0."""
        return np.asarray(self._process.kernel.lengthscales.numpy())

    @property
    def noise_variance(self) -> float:
        """Variance of the noise, in squared targets."""
        return float(self._process.likelihood.variance.numpy())

    def fit(self, evidence: Evidence, hint: Hyperparameters | None) -> Hyperparameters:
        """Find the hyperparameters of highest posterior density and condition on the evidence.

        Args:
            evidence: of at least one trial.
            hint: where to start beside the usual starts; the fit of an earlier ask.

        Returns:
            the hyperparameters in use, to be given as `hint` next time.

        Raises:
            SurrogateFitError: no hyperparameters, however noisy, give a usable posterior.
        """
        self._replace_rows(evidence)
        self._expect_luck(len(evidence.censored) > 0)
        starts = self._starts(hint, len(evidence))
        for attempt in _with_more_noise([self._descent.best_of(starts), *starts]):
            self._descent.assign(attempt)
            if self._is_usable(evidence):
                return attempt
        raise SurrogateFitError(
            f"No surrogate could be fitted to {len(evidence)} observations: every covariance matrix was singular."
        )

    def condition(self, evidence: Evidence) -> None:
        """Replace the data, keep the hyperparameters.

        Raises:
            SurrogateFitError: they give no usable posterior for these data.
        """
        self._replace_rows(evidence)
        try:
            is_finite = bool(self._condition())
        except tf.errors.InvalidArgumentError as error:
            raise SurrogateFitError("The covariance matrix of observed and pending points is singular.") from error
        if not is_finite:
            raise SurrogateFitError("The posterior at observed and pending points is not finite.")

    def predict(self, points: Points) -> tuple[Points, Points]:
        """Mean and variance of the target without noise, shape (n, 1) each, at points of shape (n, D)."""
        mean, variance = self._predict(tf.constant(points))
        return mean.numpy(), variance.numpy()

    def _replace_rows(self, evidence: Evidence) -> None:
        measured, censored = len(evidence.points), len(evidence.censored)
        self._process.replace_rows(
            np.concatenate([evidence.points, evidence.censored]),
            np.repeat([[MEASURED], [ABOVE]], [measured, censored], axis=0),
            np.concatenate([evidence.targets, evidence.bounds]),
        )
        # A script may tell a bound of its own with each trial, and one of them may be absurd.
        self._process.level.assign(float(np.median(evidence.bounds)) if censored else 0.0)
        self._process.tilt.assign(evidence.tilt)

    def _expect_luck(self, is_expected: bool) -> None:
        """Take the prior of the noise for trials some of which are at chance, or the usual one."""
        self._noise_location.assign(_NOISE_LOCATION_OF_LUCK if is_expected else _NOISE_LOCATION)

    def _is_usable(self, evidence: Evidence) -> bool:
        try:
            self.condition(evidence)
        except SurrogateFitError:
            return False
        mean, variance = self.predict(np.concatenate([evidence.points, evidence.censored]))
        return bool(np.isfinite(mean).all() and np.isfinite(variance).all())

    def _starts(self, hint: Hyperparameters | None, count: int) -> list[Hyperparameters]:
        """Short and long length-scales: the posterior often has a mode of each kind, all signal or nearly all noise."""
        scale = 0.5 * math.log(self._dimension)
        rest = (0.0, float(self._noise_location.numpy()))
        usual = [(scale + math.log(factor),) * self._dimension + rest for factor in (0.25, 1.0)]
        if hint is None or len(hint) != self._dimension + 2:
            return usual
        return [hint] if count > MANY else [hint, *usual]


def _process(space: SearchSpace) -> CensoredProcess:
    kernel = SpaceMatern52(space)
    kernel.lengthscales = positive(np.ones(space.dimension), length_scale_prior(space))
    kernel.variance = positive(1.0, log_normal(*_VARIANCE_PRIOR))
    return CensoredProcess(kernel, gpflow.likelihoods.Gaussian(1.0), space.dimension)


def _with_more_noise(attempts: Iterable[Hyperparameters]) -> Iterable[Hyperparameters]:
    """Each set of hyperparameters as it is, then with a jitter that saves nearly singular matrices."""
    for attempt in attempts:
        yield attempt
        for noise in (1e-3, 1e-1):
            yield _at_least(attempt, math.log(noise))


def _at_least(hyperparameters: Sequence[float], log_noise: float) -> Hyperparameters:
    return (*hyperparameters[:-1], max(hyperparameters[-1], log_noise))
