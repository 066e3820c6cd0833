import numpy as np
import pytest

from cnnbo.scheduler.optimizers.trieste.targets import TargetScale


def test_targets_are_standardised_and_keep_the_order() -> None:
    """The priors of the surrogate are made for mean 0 and variance 1, and the best must stay the best."""
    objectives = np.array([[0.3], [-2.0], [7.0], [0.31], [5.0]])
    targets = TargetScale.of(objectives).target(objectives)
    assert np.mean(targets) == pytest.approx(0)
    assert np.std(targets) == pytest.approx(1)
    assert np.array_equal(np.argsort(targets[:, 0]), np.argsort(objectives[:, 0]))


def test_one_huge_loss_does_not_flatten_the_others() -> None:
    """One diverging run in ten is common; the differences among the good ones are what the search lives on."""
    good = np.linspace(0.1, 0.3, 10)[:, None]
    objectives = np.concatenate([good, [[1e9]]])
    targets = TargetScale.of(objectives).target(objectives)
    assert np.ptp(targets[:5]) > 0.1


def test_the_better_half_is_only_scaled() -> None:
    """Near the optimum the surrogate sees the objective as it is."""
    objectives = np.arange(11.0)[:, None]
    steps = np.diff(TargetScale.of(objectives).target(objectives)[:6, 0])
    assert steps == pytest.approx(steps[0])


@pytest.mark.parametrize("objectives", [[3.0], [1.0, 1.0, 1.0], [0.5, 2.0, 40.0, 3.0, 3.0], [0.0, 0.0, 0.0, 5.0]])
def test_a_target_leads_back_to_its_objective(objectives: list[float]) -> None:
    """What the surrogate believes is shown in the user's units."""
    column = np.array(objectives)[:, None]
    scale = TargetScale.of(column)
    assert [scale.objective(target) for target in scale.target(column)[:, 0]] == pytest.approx(objectives)


def test_the_slope_is_that_of_the_way_back() -> None:
    """A standard deviation is carried to the user's units by it."""
    scale = TargetScale.of(np.array([[0.5], [2.0], [40.0], [3.0], [3.0]]))
    for target in (-1.0, 0.5, 1.5):
        rise = (scale.objective(target + 1e-6) - scale.objective(target - 1e-6)) / 2e-6
        assert scale.slope(target) == pytest.approx(rise, rel=1e-4)


def test_any_finite_objectives_have_finite_targets() -> None:
    """A float near its end is a value too."""
    objectives = np.array([[-1.7e308], [1.7e308], [0.0], [5e-324]])
    assert np.isfinite(TargetScale.of(objectives).target(objectives)).all()
