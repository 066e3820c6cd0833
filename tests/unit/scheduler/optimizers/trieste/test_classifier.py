from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnnbo.scheduler.optimizers.base import Points
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, SearchSpace

if TYPE_CHECKING:
    from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("libraries")]

LINE = SearchSpace((FloatParameter("rate", 0.0, 1.0),))
CHOICE = SearchSpace((FloatParameter("rate", 0.0, 1.0), CategoricalParameter("norm", ("none", "batch"))))


def fitted(finished: Points, failed: Points, space: SearchSpace = LINE) -> "Feasibility":
    from cnnbo.scheduler.optimizers.trieste.classifier import Feasibility

    feasibility = Feasibility(space)
    feasibility.fit(finished, failed, None)
    return feasibility


def probability(feasibility: "Feasibility", *points: list[float]) -> list[float]:
    return [float(p) for p in np.exp(feasibility.log_probability(np.array(points))[:, 0])]


def column(*values: float) -> Points:
    return np.array(values)[:, None]


def test_tells_the_region_that_fails_from_the_other() -> None:
    """Otherwise a study goes back and back to where every trial dies."""
    feasibility = fitted(column(0.05, 0.1, 0.2, 0.3, 0.4, 0.5), column(0.6, 0.65, 0.7))
    alive, edge, dead = probability(feasibility, [0.1], [0.55], [0.7])
    assert alive > 0.85
    assert 0.3 < edge < 0.7
    assert dead < 0.25


def test_what_fails_beyond_an_edge_is_believed_to_fail_further_on() -> None:
    """A rate that diverges at 0.7 diverges at 1, where nobody has been; a stationary kernel alone says fifty-fifty."""
    feasibility = fitted(column(*np.linspace(0, 0.5, 12)), column(0.6, 0.62, 0.65, 0.7))
    assert probability(feasibility, [1.0])[0] < 0.15


def test_one_failure_in_few_settles_nothing() -> None:
    """A single crash in the design must not close the space around it, let alone all of it."""
    space = SearchSpace(tuple(FloatParameter(f"x{k}", 0.0, 1.0) for k in range(6)))
    points = np.random.default_rng(0).random((7, 6))
    at = probability(fitted(points[:6], points[6:], space), *points.tolist(), [0.0] * 6, [1.0] * 6)
    assert min(at) > 0.25


def test_a_choice_that_kills_is_told_from_one_that_does_not() -> None:
    """Choices have no order: what is learned of one says nothing of the other."""
    rates = np.linspace(0.05, 0.95, 8)
    finished, failed = (np.column_stack([rates, np.full(8, at)]) for at in (0.25, 0.75))
    alive, dead = probability(fitted(finished, failed, CHOICE), [0.5, 0.25], [0.5, 0.75])
    assert alive > 0.8
    assert dead < 0.2


def test_failures_by_chance_make_no_region() -> None:
    """A machine that kills one trial in four at random must leave the whole space open."""
    points = np.random.default_rng(3).random((40, 1))
    is_lost = np.arange(40) % 4 == 0
    at = probability(fitted(points[~is_lost], points[is_lost]), [0.1], [0.5], [0.9])
    assert at == pytest.approx([0.75] * 3, abs=0.25)


def test_slopes_of_the_evidence_are_those_of_differences() -> None:
    """The fit follows them; sites that have not settled would bend them."""
    import tensorflow as tf

    feasibility = fitted(column(0.1, 0.2, 0.45, 0.5), column(0.4, 0.6, 0.9))
    descent = feasibility._descent
    vector = np.array([-1.0, 0.7, 0.3])
    _, slopes = descent._loss_and_gradient(tf.constant(vector))
    for k, slope in enumerate(slopes.numpy()):
        step = 1e-4 * np.eye(3)[k]
        up, down = (float(descent._loss_and_gradient(tf.constant(vector + s))[0]) for s in (step, -step))
        assert slope == pytest.approx((up - down) / 2e-4, rel=1e-3)


def test_hyperparameters_gone_astray_do_not_spoil_the_next_ones() -> None:
    """A line search may step where nothing is finite, and must find its way back."""
    import tensorflow as tf

    descent = fitted(column(0.1, 0.2, 0.45, 0.5), column(0.4, 0.6, 0.9))._descent
    vector = np.array([-1.0, 0.7, 0.3])
    before = float(descent._loss_and_gradient(tf.constant(vector))[0])
    assert descent._loss(np.array([np.nan, 0.7, 0.3]))[0] > 1e9
    assert float(descent._loss_and_gradient(tf.constant(vector))[0]) == pytest.approx(before, abs=1e-6)


def test_agrees_with_the_variational_approximation_of_gpflow() -> None:
    """Two approximations of one posterior, written by different people; the variational bound is below the evidence."""
    import gpflow
    import tensorflow as tf

    model = fitted(column(0.1, 0.2, 0.3, 0.45, 0.5), column(0.4, 0.6, 0.7, 0.9))._process
    data = (tf.constant(np.asarray(model.points)), tf.constant((np.asarray(model.kinds) + 1) / 2))
    mean = gpflow.functions.Constant(model.prior_mean().numpy())
    reference = gpflow.models.VGP(data, model.kernel, gpflow.likelihoods.Bernoulli(), mean)
    gpflow.set_trainable(reference.kernel, False)
    gpflow.set_trainable(mean, False)
    gpflow.optimizers.Scipy().minimize(reference.training_loss, reference.trainable_variables, compile=False)
    evidence, bound = float(model.maximum_log_likelihood_objective()), float(reference.elbo())
    assert bound - 0.01 < evidence < bound + 0.2
    places = np.linspace(0, 1, 11)[:, None]
    ours, theirs = ((np.asarray(part) for part in m.predict_f(places)) for m in (model, reference))
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=0.2, abs=0.1)
