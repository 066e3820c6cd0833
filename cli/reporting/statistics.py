"""What a few independent runs let one say: means with intervals, ranks with p-values, effect sizes. Imports SciPy."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.95
_MOST_ARRANGEMENTS: Final = 200_000
"""Up to so many ways of dealing tied values out to two groups all of them are counted: 10 against 10 values."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its 95 % interval; None where the data give none."""

    value: float
    low: float | None
    high: float | None


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The mean with Student's t interval; a single value has no interval, none has no mean.

    >>> interval = mean_interval([0.90, 0.92, 0.91])
    >>> [round(number, 4) for number in (interval.value, interval.low, interval.high)]
    [0.91, 0.8852, 0.9348]
    """
    if not values:
        return None
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, None, None)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def share_interval(share: float, count: int) -> Interval:
    """A share of `count` >= 1 cases, like an accuracy, with Wilson's interval: how far it is the luck of the cases."""
    interval = stats.binomtest(round(share * count), count).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(share, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class RankTest:
    """Two groups compared by the ranks of their values.

    Attributes:
        u: the statistic of Mann and Whitney for the first group: in so many pairs its value is the higher one, ties
            counting half.
        p: two-sided.
        superiority: the probability that a value of the first group is better than one of the second, ties counting
            half (Vargha and Delaney's A); 0.5 where there is no difference; with its 95 % interval.
        method: how p was calculated, for people.
    """

    u: float
    p: float
    superiority: Interval
    method: str


def rank_test(first: Sequence[float], second: Sequence[float], is_lower_better: bool = False) -> RankTest | None:
    """Mann and Whitney's test of two groups, and how much better the first one is; None where either is empty."""
    if not first or not second:
        return None
    sign = -1.0 if is_lower_better else 1.0
    x, y = sign * np.asarray(first, dtype=np.float64), sign * np.asarray(second, dtype=np.float64)
    ranks = stats.rankdata(np.concatenate([x, y]))
    u = float(ranks[: len(x)].sum()) - len(x) * (len(x) + 1) / 2
    p, method = _p_value(x, y, ranks)
    return RankTest(u, p, superiority_interval(u / (len(x) * len(y)), len(x), len(y)), method)


def _p_value(x: Floats, y: Floats, ranks: Floats) -> tuple[float, str]:
    distinct = len(np.unique(ranks))
    if distinct == len(ranks):
        return float(stats.mannwhitneyu(x, y, method="exact").pvalue), "exact"
    if math.comb(len(ranks), len(x)) <= _MOST_ARRANGEMENTS:
        return _permuted(ranks, len(x)), "exact, over all arrangements of the tied values"
    if distinct == 1:
        return 1.0, "all values are equal"
    return float(stats.mannwhitneyu(x, y, method="asymptotic").pvalue), "normal approximation, corrected for ties"


def _permuted(ranks: Floats, first: int) -> float:
    """Two-sided p of the sum of the first so many ranks, over all ways of choosing as many."""
    chosen = np.array(list(itertools.combinations(range(len(ranks)), first)))
    sums = ranks[chosen].sum(axis=1)
    # Ranks are multiples of a half: a quarter keeps rounding from parting what is equal.
    as_low, as_high = np.mean(sums <= sums[0] + 0.25), np.mean(sums >= sums[0] - 0.25)
    return float(min(1.0, 2 * min(as_low, as_high)))


def superiority_interval(share: float, first: int, second: int) -> Interval:
    """A probability of superiority found between groups of so many values, with its 95 % interval.

    Unlike a bootstrap's it isn't empty where the groups don't overlap.

    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic", part 2,
    Statistics in Medicine 25 (2006), method 5: the values from which `share` is no further than 1.96 of the standard
    deviations that Hanley and McNeil give for them.
    """
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    size = (first + second) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(theta - share) - z * math.sqrt(theta * (1 - theta) * spread / (first * second))

    # At 0 and 1 the deviation is 0 and so is the excess: a root beside the one that is looked for.
    inside = min(max(share, 1e-9), 1 - 1e-9)
    low = 0.0 if share == 0 else float(optimize.brentq(excess, 0.0, inside))
    high = 1.0 if share == 1 else float(optimize.brentq(excess, inside, 1.0))
    return Interval(share, low, high)


def smallest_p(first: int, second: int) -> float:
    """The smallest two-sided p that so many values against so many can give, without ties.

    >>> round(smallest_p(5, 5), 4)
    0.0079
    """
    return min(1.0, 2 / math.comb(first + second, first))


def largest_u(first: int, second: int, level: float = 0.05) -> int | None:
    """The largest U, of the group where it is smaller, with a two-sided p below the level; None where no U has.

    >>> largest_u(5, 5), largest_u(3, 3)
    (2, None)
    """
    best = None
    for u in range(first * second // 2 + 1):
        if _p_of_u(u, first, second) >= level:
            break
        best = u
    return best


def _p_of_u(u: int, first: int, second: int) -> float:
    """Two-sided p of a U without ties, by the number of arrangements with that U or a smaller one."""
    # counts[k]: in how many ways the values of the first group seen so far beat k of the second's.
    counts = np.zeros(first * second + 1)
    counts[0] = 1
    # The generating function of U is the Gaussian binomial coefficient: a product of (1 - q^(n + i)) / (1 - q^i).
    for i in range(1, first + 1):
        for k in range(len(counts) - 1, second + i - 1, -1):
            counts[k] -= counts[k - second - i]
        for k in range(i, len(counts)):
            counts[k] += counts[k - i]
    return float(min(1.0, 2 * counts[: u + 1].sum() / counts.sum()))
