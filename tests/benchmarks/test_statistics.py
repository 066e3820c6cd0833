"""The numbers of the report, on rows whose answers are worked out by hand."""

from math import inf

import numpy as np
import pytest
from proposing.simulation import Row
from proposing.statistics import (
    Runs,
    best_value,
    bootstrap,
    checkpoints,
    collect,
    compare,
    evaluations_to,
    evaluations_to_target,
    rank,
    told_before,
)
from tests.benchmarks.desk import row


def test_best_value_is_the_true_value_of_what_looks_best() -> None:
    """Luck must not count: trial 2 looks best (1.0) but is worth 2.5, worse than the incumbent before it."""
    noisy = row([3.0, 2.0, 1.0, 1.5], [2.0, 2.2, 2.5, 1.4])
    assert best_value(noisy).tolist() == [2.0, 2.2, 2.5, 2.5]


def test_best_value_is_inf_until_something_succeeds() -> None:
    """A failure is no value, and later failures change nothing."""
    assert best_value(row([None, None, 3.0, None, 2.0])).tolist() == [inf, inf, 3.0, 3.0, 2.0]


def test_the_earlier_of_two_that_look_the_same_stays() -> None:
    """An incumbent is replaced by something better only."""
    assert best_value(row([1.0, 1.0], [1.1, 0.9])).tolist() == [1.1, 1.1]


@pytest.mark.parametrize(
    ("values", "ranks"),
    [
        ([3.0, 1.0, 2.0], [3.0, 1.0, 2.0]),
        ([1.0, 1.0, 2.0], [1.5, 1.5, 3.0]),
        ([-2.0, -2.0 * (1 + 1e-12), -1.0], [1.5, 1.5, 3.0]),  # rounding is no difference
        ([1.0, 1.0 + 1e-6, 2.0], [1.0, 2.0, 3.0]),
        ([0.0, 0.0, -1.0], [2.5, 2.5, 1.0]),
        ([inf, 1.0, inf], [2.5, 1.0, 2.5]),  # no success is the worst
        ([inf, inf, inf], [2.0, 2.0, 2.0]),
    ],
)
def test_ranks(values: list[float], ranks: list[float]) -> None:
    """Ties share the average of their ranks."""
    assert rank(np.array(values)).tolist() == ranks


def test_ranks_are_along_the_first_axis() -> None:
    """Every problem, seed and number of evaluations is ranked by itself."""
    assert rank(np.array([[1.0, 5.0], [2.0, 4.0]])).tolist() == [[1.0, 2.0], [2.0, 1.0]]


def two_methods() -> list[Row]:
    """Seed 0: cnnbo is better on network, equal on discrete; seed 1: worse on both; seed 2: random has one problem."""
    values = {
        ("network", 0): (1.0, 2.0),
        ("discrete", 0): (1.0, 1.0),
        ("network", 1): (2.0, 1.0),
        ("discrete", 1): (2.0, 1.0),
    }
    rows = [
        row([value], problem=problem, seed=seed, method=method)
        for (problem, seed), both in values.items()
        for method, value in zip(("cnnbo", "random"), both, strict=True)
    ]
    return [*rows, row([0.0], seed=2), row([0.0], seed=2, problem="discrete"), row([9.0], seed=2, method="random")]


def test_methods_are_compared_on_the_seeds_that_all_have() -> None:
    """Mean ranks by hand: cnnbo (1 + 1.5 + 2 + 2) / 4, random (2 + 1.5 + 1 + 1) / 4."""
    comparison = compare(Runs(two_methods()), ["random", "cnnbo"], 4)
    assert comparison is not None
    assert comparison.methods == ("cnnbo", "random")
    assert comparison.seeds == (0, 1)
    assert comparison.mean_rank("cnnbo", 1).value == pytest.approx(1.625)
    assert comparison.mean_rank("random", 1).value == pytest.approx(1.375)


def test_differences_are_paired() -> None:
    """By seed -0.5 and 1; with two seeds the interval reaches from the one to the other."""
    comparison = compare(Runs(two_methods()), ["random", "cnnbo"], 4)
    assert comparison is not None
    difference = comparison.difference("cnnbo", "random", 1)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.25, -0.5, 1.0))


def test_a_comparison_needs_two_methods_and_a_common_seed() -> None:
    """Half-finished rows are the rule while a benchmark runs."""
    assert compare(Runs([row([1.0])]), ["cnnbo", "random"], 4) is None
    assert compare(Runs([row([1.0]), row([1.0], method="random", seed=1)]), ["cnnbo", "random"], 4) is None
    assert compare(Runs([row([1.0]), row([1.0], method="random")]), ["cnnbo", "random"], 8) is None


def test_the_bootstrap_is_that_of_a_mean() -> None:
    """For many seeds the interval is the mean plus or minus 1.96 standard errors; equal seeds leave no doubt."""
    seeds = np.random.default_rng(1).normal(size=(100, 1))
    value, low, high = bootstrap(seeds)[:, 0]
    error = seeds.std() / 10
    assert value == pytest.approx(seeds.mean())
    assert (value - low) / error == pytest.approx(1.96, abs=0.1)
    assert (high - value) / error == pytest.approx(1.96, abs=0.1)
    assert bootstrap(np.full((5, 1), 3.0))[:, 0] == pytest.approx([3.0, 3.0, 3.0])


def test_evaluations_to_a_target_are_counted_from_one() -> None:
    """The first time counts, even if the incumbent's true value rises again; never is inf."""
    assert evaluations_to(np.array([3.0, 2.0, 2.5]), 2.0) == 2
    assert evaluations_to(np.array([3.0, 2.0]), 1.0) == inf
    assert evaluations_to(np.array([inf, inf]), inf) == inf


def test_the_target_is_randoms_median_at_the_end() -> None:
    """Random ends at 1, 2 and 6, so the target is 2; cnnbo's seeds need 1, 3 and for ever."""
    runs = Runs(
        [row([9.0, 9.0, end], method="random", seed=seed) for seed, end in enumerate((1.0, 2.0, 6.0))]
        + [row([2.0, 2.0, 2.0], seed=0), row([9.0, 9.0, 1.0], seed=1), row([9.0, 9.0, 9.0], seed=2)]
    )
    assert evaluations_to_target(runs, "cnnbo", 4, "network") == 3
    assert evaluations_to_target(runs, "random", 4, "network") == 3
    assert evaluations_to_target(runs, "tpe", 4, "network") is None
    assert evaluations_to_target(Runs([row([1.0])]), "cnnbo", 4, "network") is None


def test_half_the_runs_without_the_target_is_never() -> None:
    """A median between a number and never is never."""
    runs = Runs([row([1.0], method="random"), row([1.0]), row([2.0], seed=1)])
    assert evaluations_to_target(runs, "cnnbo", 4, "network") == inf


def test_failures_are_a_mean_and_duplicates_a_sum() -> None:
    """As the tables say."""
    runs = Runs([row([None, None, 1.0], duplicates=2), row([None, 1.0, 1.0], seed=1, duplicates=1)])
    assert runs.failures("cnnbo", 4, "network") == 1.5
    assert runs.duplicates("cnnbo") == 3
    assert runs.failures("tpe", 4, "network") is runs.duplicates("tpe") is None


def test_values_at_chance_are_counted_apart_from_failures() -> None:
    """The bound itself is at chance; rows of problems without one have none."""
    runs = Runs([row([None, 0.9, 0.95, 0.5], chance=0.9), row([0.9, 0.9, 0.9, None], seed=1, chance=0.9)])
    assert runs.at_chance("cnnbo", 4, "network") == 2.5
    assert runs.failures("cnnbo", 4, "network") == 1.0
    assert Runs([row([1.0])]).at_chance("cnnbo", 4, "network") == 0.0
    assert Runs([]).at_chance("cnnbo", 4, "network") is None


def test_other_problems_and_budgets_do_not_touch_the_main_comparison() -> None:
    """They have groups of their own, whose problems and lengths can be compared."""
    main = [row([1.0] * 80, method=method) for method in ("cnnbo", "random")]
    narrow = [row([0.5] * 80, problem=name) for name in ("band5-0", "band5-4")]
    more = [row([0.5] * 80, problem="band5-1"), row([0.5] * 40, problem="band5-0"), row([1.0] * 40)]
    results = collect([*more, *narrow, *main, row([0.5] * 80, problem="street"), row([1.0], problem="of old")], [])
    assert results.runs.problems(4) == ["network"]
    assert len(results.runs) == 2 and results.common is not None
    assert [(group.name, group.evaluations, len(group.runs)) for group in results.others] == [
        ("all", 40, 1),
        ("narrow", 80, 2),
        ("narrow", 40, 1),
        ("narrow-final", 80, 1),
        ("live", 80, 1),
        ("other", 1, 1),
    ]


def test_checkpoints_lie_within_the_run() -> None:
    """A run of 40 evaluations has nothing to show after 80."""
    assert checkpoints(80) == (20, 40, 80)
    assert checkpoints(40) == (20, 40)
    assert checkpoints(5) == (5,)


def test_asks_are_numbered_from_zero_and_pooled() -> None:
    """With 4 devices three trials run at every ask after the start, so 10 have ended before ask 13."""
    assert [told_before(number, 4) for number in (0, 3, 4, 13)] == [0, 0, 1, 10]
    runs = Runs([row([1.0], ask_s=[0.0, 1.0, 2.0, 3.0]), row([1.0], seed=1, ask_s=[4.0, 5.0, 6.0, 7.0])])
    assert runs.ask_seconds("cnnbo", 4, 1, 2).tolist() == [1.0, 2.0, 5.0, 6.0]
    assert runs.ask_seconds("cnnbo", 4, 3).tolist() == [3.0, 7.0]


def test_only_rows_that_say_so_are_idle() -> None:
    """A row from a busy machine among the idle ones would spoil the ask times."""
    results = collect([row([1.0])], [row([1.0], idle=True), row([1.0], seed=1)])
    assert [kept.seed for kept in results.idle.rows("cnnbo")] == [0]
