import numpy as np
import pytest
from scipy import stats

from cnnbo.cli.reporting.statistics import (
    largest_u,
    mean_interval,
    rank_test,
    share_interval,
    smallest_p,
    superiority_interval,
)

_BO = (0.912, 0.907, 0.915, 0.903, 0.921)
_RANDOM = (0.901, 0.909, 0.899, 0.905, 0.889)


def test_the_mean_has_the_t_interval_that_scipy_gives() -> None:
    """A reader checks Table 1 with SciPy."""
    interval = mean_interval(_BO)
    assert interval is not None
    expected = stats.ttest_1samp(_BO, 0.0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_few_values_have_no_interval_instead_of_a_wrong_one() -> None:
    """A comparison of a single run must not claim to know how far runs lie apart."""
    single = mean_interval([0.9])
    assert single is not None and (single.value, single.low, single.high) == (0.9, None, None)
    assert mean_interval([]) is None


def test_the_interval_of_an_accuracy_is_wilsons() -> None:
    """Near 1 the usual interval would reach above it."""
    interval = share_interval(1.0, 2000)
    assert interval.high == 1.0 and interval.low == pytest.approx(0.99808, abs=1e-5)


@pytest.mark.parametrize(("first", "second"), [(_BO, _RANDOM), (_BO, _BO[:2] + _RANDOM), ((1.0, 2.0), (1.0, 2.0, 2.0))])
def test_ranks_are_compared_as_scipy_does(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    """Without ties that is its exact method, with ties its permutation of all arrangements."""
    test = rank_test(first, second)
    has_ties = len(set(first + second)) < len(first + second)
    every = stats.PermutationMethod(n_resamples=10_000)
    expected = stats.mannwhitneyu(first, second, method=every if has_ties else "exact")
    assert test is not None
    assert (test.u, test.p) == pytest.approx((float(expected.statistic), float(expected.pvalue)))
    assert test.superiority.value == pytest.approx(np.mean(np.sign(np.subtract.outer(first, second)) / 2 + 0.5))


def test_a_lower_metric_counts_as_better_where_it_is() -> None:
    """Otherwise a study that minimises would praise the worse method."""
    better = rank_test([1.0, 2.0], [3.0, 4.0], is_lower_better=True)
    assert better is not None and better.superiority.value == 1.0


def test_many_tied_values_are_approximated() -> None:
    """All arrangements of 20 against 20 would never end."""
    first, second = [0.1, 0.2] * 10, [0.2, 0.3] * 10
    test = rank_test(first, second)
    assert test is not None and test.p == pytest.approx(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)
    equal = rank_test([0.5] * 20, [0.5] * 20)
    assert equal is not None and equal.p == 1.0


def test_five_against_five_can_hardly_be_significant() -> None:
    """The page says so beside every p-value: 0.0079 is the least, and U <= 2 is needed for 0.05."""
    assert smallest_p(5, 5) == pytest.approx(0.0079, abs=5e-5)
    apart = rank_test([6, 7, 8, 9, 10], [1, 2, 3, 4, 5])
    assert apart is not None and apart.p == pytest.approx(smallest_p(5, 5))
    assert largest_u(5, 5) == 2


@pytest.mark.parametrize("sizes", [(4, 4), (5, 5), (3, 7), (8, 8)])
def test_the_u_that_is_needed_agrees_with_scipy(sizes: tuple[int, int]) -> None:
    """The sentence about it is calculated for whatever number of runs there is."""
    limit = largest_u(*sizes)
    assert limit is not None
    table = {}
    generator = np.random.default_rng(1)
    for _ in range(400):
        order = generator.permutation(sum(sizes)).astype(float)
        found = stats.mannwhitneyu(order[: sizes[0]], order[sizes[0] :], method="exact")
        table[min(found.statistic, sizes[0] * sizes[1] - found.statistic)] = found.pvalue
    assert all((p < 0.05) == (u <= limit) for u, p in table.items())


def test_groups_apart_still_have_an_interval() -> None:
    """Five better than five others is no proof of always: a bootstrap would say from 1 to 1."""
    interval = superiority_interval(1.0, 5, 5)
    assert interval.high == 1.0 and interval.low is not None and 0.5 < interval.low < 0.8


def test_the_interval_mirrors_with_the_groups() -> None:
    """Which method is named first must not matter."""
    one, other = superiority_interval(0.8, 5, 7), superiority_interval(1 - 0.8, 7, 5)
    assert one.low is not None and other.high is not None
    assert one.low == pytest.approx(1 - other.high)
