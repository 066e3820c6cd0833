"""One process behind values, bounds and labels, against other people's regression and against plain integration."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.space import FloatParameter, SearchSpace

if TYPE_CHECKING:
    from cnnbo.scheduler.optimizers.trieste.propagation import CensoredProcess

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("libraries")]

LINE = SearchSpace((FloatParameter("rate", 0.0, 1.0),))
NOISE = 0.05
PLACES = np.linspace(0, 1, 9)[:, None]


def process(points: Points, kinds: list[float], targets: list[float]) -> "CensoredProcess":
    """A process of known hyperparameters, conditioned on rows; its mean far from them is 0.5."""
    import gpflow

    from cnnbo.scheduler.optimizers.trieste.propagation import CensoredProcess

    kernel = gpflow.kernels.Matern52(variance=1.5, lengthscales=0.3)
    made = CensoredProcess(kernel, gpflow.likelihoods.Gaussian(NOISE), dimension=1)
    made.level.assign(0.5)
    made.replace_rows(points, np.array(kinds)[:, None], np.array(targets)[:, None])
    assert bool(made.condition())
    return made


def column(*values: float) -> Points:
    return np.array(values)[:, None]


def test_with_values_alone_it_is_the_regression_of_gpflow() -> None:
    """The usual study has no trial at chance, and must not pay for those that have."""
    import gpflow
    import tensorflow as tf

    points, targets = column(0.1, 0.15, 0.5, 0.8), [0.3, 0.1, -1.0, 2.0]
    ours = process(points, [0.0] * 4, targets)
    data = (tf.constant(points), tf.constant(column(*targets)))
    theirs = gpflow.models.GPR(data, ours.kernel, gpflow.functions.Constant([0.5]), noise_variance=NOISE)
    for one, other in zip(ours.predict_f(PLACES), theirs.predict_f(tf.constant(PLACES)), strict=True):
        assert one.numpy() == pytest.approx(other.numpy(), abs=1e-9)
    constant = 0.5 * len(points) * math.log(2 * math.pi)
    evidence = float(ours.maximum_log_likelihood_objective())
    assert evidence - constant == pytest.approx(float(theirs.maximum_log_likelihood_objective()), abs=1e-9)


def test_a_bound_beside_values_is_what_sampling_says_it_is() -> None:
    """Expectation propagation is an approximation; importance sampling of the same posterior is not."""
    points, kinds, targets = column(0.2, 0.3, 0.6, 0.7), [0.0, 1.0, 1.0, -1.0], [-0.5, 0.4, 0.6, 0.2]
    made = process(points, kinds, targets)
    everywhere = np.concatenate([points, PLACES])
    covariance = made.kernel(everywhere).numpy() + 1e-9 * np.eye(len(everywhere))
    draws = (
        0.5 + np.random.default_rng(0).standard_normal((400_000, len(everywhere))) @ np.linalg.cholesky(covariance).T
    )
    from scipy.stats import norm

    z = (draws[:, :4] - np.array(targets)) / math.sqrt(NOISE)
    log_weights = norm.logpdf(z[:, 0]) + norm.logcdf(z[:, 1]) + norm.logcdf(z[:, 2]) + norm.logcdf(-z[:, 3])
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    mean = weights @ draws[:, 4:]
    deviation = np.sqrt(weights @ (draws[:, 4:] - mean) ** 2)
    ours_mean, ours_variance = (part.numpy()[:, 0] for part in made.predict_f(PLACES))
    assert ours_mean == pytest.approx(mean, abs=0.03)
    assert np.sqrt(ours_variance) == pytest.approx(deviation, abs=0.03)


def test_a_bound_that_is_met_says_less_than_a_value() -> None:
    """What lies above a bound may lie anywhere above it."""
    bound = process(column(0.5), [1.0], [0.0])
    value = process(column(0.5), [0.0], [0.0])
    (_, loose), (_, tight) = (p.predict_f(column(0.5)) for p in (bound, value))
    assert float(tight[0, 0]) < 0.1 < float(loose[0, 0])


def test_rows_far_away_leave_the_mean_at_the_base_rate() -> None:
    """With nine of ten above the bound, what nobody has tried is believed to lie above it nine times in ten."""
    from scipy.stats import norm

    from cnnbo.scheduler.optimizers.trieste.propagation import base_rate_tilt

    made = process(column(0.0), [1.0], [0.2])
    made.level.assign(0.2)
    made.tilt.assign(base_rate_tilt(above=90, below=10))
    assert bool(made.condition())
    mean, variance = (float(part[0, 0]) for part in made.predict_f(column(1e3)))
    assert norm.cdf((mean - 0.2) / math.sqrt(variance + NOISE)) == pytest.approx(0.9, abs=0.01)


def test_slopes_of_the_evidence_are_those_of_differences() -> None:
    """The fit follows them: of length-scale, variance and noise, with rows of every kind, and a mean that moves."""
    import tensorflow as tf

    from cnnbo.scheduler.optimizers.trieste.fitting import Descent

    made = process(column(0.1, 0.2, 0.45, 0.5, 0.8), [0.0, 0.0, 1.0, 1.0, -1.0], [-1.0, -0.7, 0.3, 0.3, 0.1])
    made.tilt.assign(0.8)
    kernel, noise = made.kernel, made.likelihood
    bounds = [(-5.0, 5.0)] * 3
    descent = Descent(
        lambda: -made.log_posterior_density(), [kernel.lengthscales, kernel.variance, noise.variance], bounds
    )
    vector = np.array([-0.8, 0.7, -2.0])
    _, slopes = descent._loss_and_gradient(tf.constant(vector))
    for k, slope in enumerate(slopes.numpy()):
        step = 1e-4 * np.eye(3)[k]
        up, down = (float(descent._loss_and_gradient(tf.constant(vector + s))[0]) for s in (step, -step))
        assert slope == pytest.approx((up - down) / 2e-4, rel=1e-3, abs=1e-5)
