"""What the rows say in numbers: best values, ranks with bootstrap intervals, evaluations to a target, ask times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from proposing.asks import Timing
from proposing.groups import GROUPS, group_of
from proposing.labels import in_order
from proposing.problems import PROBLEMS
from proposing.rows import Key
from proposing.simulation import EVALUATIONS, Row

Floats = NDArray[np.float64]

CHECKPOINTS = (20, 40, 80)
"""Numbers of ended trials at which the tables look."""


def checkpoints(evaluations: int) -> tuple[int, ...]:
    """Return those of runs that end after that number of trials."""
    return tuple(n for n in CHECKPOINTS if n <= evaluations) or (evaluations,)


MAIN_PARALLEL = 4
"""Devices of the main comparison."""

_TIE = 1e-9
"""Relative difference up to which two values count as equal."""

_RESAMPLES = 10_000
_BOOTSTRAP_SEED = 2016


# -- one run ----------------------------------------------------------------------------------------------------------


def best_value(row: Row) -> Floats:
    """What a user who takes the incumbent really gets, after each ended trial; shape (N,).

    The incumbent is the trial with the lowest *observed* value so far, the earliest among equals; what counts is its
    value *without* noise. On a noisy problem the curve may therefore rise. `inf` before the first success.
    """
    observed, means = _numbers(row.observed), _numbers(row.means)
    lowest_before = np.concatenate([[np.inf], np.minimum.accumulate(observed)[:-1]])
    takes_over = np.where(observed < lowest_before, np.arange(len(observed)), 0)
    # Before the first success this points at trial 0, which has failed and so has mean inf.
    incumbents: NDArray[np.intp] = np.maximum.accumulate(takes_over)
    return means[incumbents]


def evaluations_to(curve: Floats, target: float) -> float:
    """The first number of evaluations, from 1, at which a curve (N,) is at most the target; inf if never."""
    reached = np.isfinite(curve) & (curve <= target)
    return float(reached.argmax() + 1) if reached.any() else float("inf")


def told_before(number: int, parallel: int) -> int:
    """How many trials have ended when ask `number` (from 0) is made: all devices but the asking one are busy."""
    return max(0, number - parallel + 1)


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)


# -- all runs ---------------------------------------------------------------------------------------------------------


class Runs:
    """The rows by what was run. Where a key occurs twice the later row counts."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[Key, Row] = {row.key: row for row in rows}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def evaluations(self) -> int:
        """Trials of the longest run; 0 without rows."""
        return max((row.evaluations for row in self._rows.values()), default=0)

    def rows(self, method: str, parallel: int | None = None, problem: str | None = None) -> list[Row]:
        """The rows of a method, by seed; of one number of devices and of one problem where they are given."""
        return [
            row
            for _, row in sorted(self._rows.items())
            if row.method == method and parallel in (None, row.parallel) and problem in (None, row.problem)
        ]

    def methods(self, parallel: int | None = None) -> list[str]:
        """Methods with at least one row, in the order of the tables."""
        return in_order(row.method for row in self._rows.values() if parallel in (None, row.parallel))

    def parallels(self) -> list[int]:
        """Numbers of devices with at least one row, ascending."""
        return sorted({row.parallel for row in self._rows.values()})

    def problems(self, parallel: int) -> list[str]:
        """Problems with at least one row, in the order of the tables."""
        found = {row.problem for row in self._rows.values() if row.parallel == parallel}
        return [name for name in PROBLEMS if name in found] + sorted(found - set(PROBLEMS))

    def complete_seeds(self, method: str, parallel: int, problems: Sequence[str]) -> set[int]:
        """Seeds with which a method has been run on every one of the problems."""
        seeds = [{row.seed for row in self.rows(method, parallel, problem)} for problem in problems]
        return set.intersection(*seeds) if seeds else set()

    def curves(self, method: str, parallel: int, problem: str) -> Floats:
        """`best_value` of every seed; shape (S, N), (0, 0) without rows."""
        curves = [best_value(row) for row in self.rows(method, parallel, problem)]
        return np.stack(curves) if curves else np.empty((0, 0))

    def medians(self, method: str, parallel: int, problem: str) -> Floats | None:
        """Median over seeds of `best_value`; shape (N,); None without rows."""
        curves = self.curves(method, parallel, problem)
        return np.asarray(np.median(curves, axis=0), dtype=np.float64) if len(curves) else None

    def failures(self, method: str, parallel: int, problem: str) -> float | None:
        """Failed trials in a run, on average; None without rows."""
        counts = [row.observed.count(None) for row in self.rows(method, parallel, problem)]
        return float(np.mean(counts)) if counts else None

    def at_chance(self, method: str, parallel: int, problem: str) -> float | None:
        """Values in a run that luck explains, on average; None without rows."""
        counts = [row.at_chance for row in self.rows(method, parallel, problem)]
        return float(np.mean(counts)) if counts else None

    def duplicates(self, method: str, parallel: int | None = None) -> int | None:
        """Trials that had been asked for before, over all runs; None without rows."""
        counts = [row.duplicates for row in self.rows(method, parallel)]
        return sum(counts) if counts else None

    def ask_seconds(self, method: str, parallel: int, first: int, last: int | None = None) -> Floats:
        """Seconds of asks number `first` to `last`, both from 0 and included, of all runs together."""
        stop = None if last is None else last + 1
        return np.array([s for row in self.rows(method, parallel) for s in row.ask_s[first:stop]], dtype=np.float64)


# -- ranks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % percentile bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Methods ranked against each other on the same problems with the same seeds.

    Attributes:
        methods: the M methods, in the order of the tables.
        problems: the K problems.
        seeds: the S seeds that every method has on every problem.
        parallel: devices.
        ranks: after each number of evaluations, shape (M, K, S, N); 1 is the best, ties share their average.
    """

    methods: tuple[str, ...]
    problems: tuple[str, ...]
    seeds: tuple[int, ...]
    parallel: int
    ranks: Floats

    @property
    def evaluations(self) -> int:
        """Trials of a run, N."""
        return int(self.ranks.shape[-1])

    def mean_ranks(self, method: str) -> Floats:
        """Mean rank over problems and seeds with its interval: rows value, low, high; shape (3, N)."""
        return bootstrap(self._by_seed(method))

    def mean_rank(self, method: str, evaluations: int) -> Interval:
        """`mean_ranks` after a number of evaluations, from 1."""
        return _interval(self._by_seed(method), evaluations)

    def difference(self, first: str, second: str, evaluations: int) -> Interval:
        """Mean rank of the first method minus that of the second, paired by seed; below 0 the first is better."""
        return _interval(self._by_seed(first) - self._by_seed(second), evaluations)

    def has(self, *methods: str) -> bool:
        """Whether all of these took part."""
        return set(methods) <= set(self.methods)

    def on(self, problem: str) -> "Comparison":
        """The same of one of the problems alone; ranks of shape (M, 1, S, N).

        Raises:
            ValueError: it is none of the problems.
        """
        at = self.problems.index(problem)
        return replace(self, problems=(problem,), ranks=self.ranks[:, at : at + 1])

    def _by_seed(self, method: str) -> Floats:
        """Mean over problems; shape (S, N)."""
        return np.asarray(self.ranks[self.methods.index(method)].mean(axis=0), dtype=np.float64)


def _interval(per_seed: Floats, evaluations: int) -> Interval:
    """Of one column of (S, N); the bootstrap of all of them takes 80 times as long."""
    value, low, high = bootstrap(per_seed[:, evaluations - 1 : evaluations])[:, 0]
    return Interval(float(value), float(low), float(high))


def compare(runs: Runs, methods: Iterable[str], parallel: int) -> Comparison | None:
    """Rank methods on all problems run with so many devices, on the seeds that all of them have.

    A method that has not been run on every problem with at least one seed is left out. None where fewer than two
    methods remain, or where they share no seed.
    """
    problems = runs.problems(parallel)
    seeds = {method: runs.complete_seeds(method, parallel, problems) for method in in_order(methods)}
    seeds = {method: complete for method, complete in seeds.items() if complete}
    common = sorted(set.intersection(*seeds.values())) if seeds else []
    if len(seeds) < 2 or not common:
        return None
    values = np.array([[_curves_of(runs, method, parallel, p, common) for p in problems] for method in seeds])
    return Comparison(tuple(seeds), tuple(problems), tuple(common), parallel, rank(values))


def _curves_of(runs: Runs, method: str, parallel: int, problem: str, seeds: Sequence[int]) -> Floats:
    return np.stack([best_value(row) for row in runs.rows(method, parallel, problem) if row.seed in seeds])


def rank(values: Floats) -> Floats:
    """Ranks along the first axis, same shape; the lowest value gets 1, ties their average, `inf` the last places."""
    order = values.argsort(axis=0)
    ascending = np.take_along_axis(values, order, axis=0)
    # Neighbours in order that are close share a step, so that rankdata sees them as equal; isclose has inf equal inf.
    steps = np.cumsum(~np.isclose(ascending[1:], ascending[:-1], rtol=_TIE, atol=0.0), axis=0, dtype=np.float64)
    steps = np.concatenate([np.zeros_like(values[:1]), steps])
    tied = np.empty_like(values)
    np.put_along_axis(tied, order, steps, axis=0)
    return np.asarray(rankdata(tied, axis=0), dtype=np.float64)


def bootstrap(per_seed: Floats) -> Floats:
    """Mean over seeds (S, N) and its 95 % percentile interval: rows value, low, high; shape (3, N).

    The resamples are the same at every call with as many seeds, so that all problems and methods are resampled
    jointly and differences stay paired.
    """
    means = _resamples(len(per_seed)) @ per_seed
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return np.stack([per_seed.mean(axis=0), low, high])


@cache
def _resamples(seeds: int) -> Floats:
    """How much each seed counts in each resample; shape (resamples, seeds), rows sum to 1."""
    drawn = np.random.default_rng(_BOOTSTRAP_SEED).multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES)
    return drawn / np.float64(seeds)


# -- evaluations to a target ------------------------------------------------------------------------------------------


def target(runs: Runs, parallel: int, problem: str) -> float | None:
    """Random search's median best value after its whole budget; None without its rows or without a success."""
    medians = runs.medians("random", parallel, problem)
    return float(medians[-1]) if medians is not None and np.isfinite(medians[-1]) else None


def evaluations_to_target(runs: Runs, method: str, parallel: int, problem: str) -> float | None:
    """Median over seeds of `evaluations_to` that target, inf if half the runs never get there; None if unknown."""
    goal, curves = target(runs, parallel, problem), runs.curves(method, parallel, problem)
    if goal is None or not len(curves):
        return None
    return float(np.median([evaluations_to(curve, goal) for curve in curves]))


# -- everything the report needs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Rows next to the main comparison's, of problems that belong together and runs of one length.

    Attributes:
        name: of the problems, as in `groups.GROUPS`; `other` for problems that are in none.
        evaluations: trials of each run.
        runs: the rows.
    """

    name: str
    evaluations: int
    runs: Runs

    @property
    def stem(self) -> str:
        """Name of the group's figure."""
        return f"best_value_{self.name.replace('-', '_')}_{self.evaluations}"


@dataclass(frozen=True)
class Results:
    """The rows and the two comparisons of the main number of devices.

    Attributes:
        runs: the rows of the benchmark's problems with the whole budget, but for the idle ones.
        idle: rows made on an otherwise idle machine, for the ask times.
        common: without BoTorch, which is slow and so has fewer seeds; None if there are not enough rows.
        every: all methods, on BoTorch's seeds; None if there are not enough rows, BoTorch's included.
        asks: timings of cnnbo's asks by observations and batch.
        others: all other rows, by group and evaluations.
    """

    runs: Runs
    idle: Runs
    common: Comparison | None
    every: Comparison | None
    asks: Sequence[Timing] = ()
    others: Sequence[Group] = ()

    def comparison_of(self, name: str) -> Comparison | None:
        """All methods with the whole budget on another group's problems; None if there are not enough rows."""
        runs = [group.runs for group in self.others if (group.name, group.evaluations) == (name, EVALUATIONS)]
        return compare(runs[0], runs[0].methods(MAIN_PARALLEL), MAIN_PARALLEL) if runs else None

    def ask_medians(self, observed: int, count: int) -> list[float]:
        """Median seconds of an ask for so many points with so many observations, by rising number of failures."""
        timed = [t for t in self.asks if (t.observed, t.count) == (observed, count)]
        return [t.median for t in sorted(timed, key=lambda t: t.failed)]


def collect(rows: Iterable[Row], idle: Iterable[Row], asks: Sequence[Timing] = ()) -> Results:
    """Results of rows; of the second kind those that say they are idle."""
    groups = _grouped(rows)
    runs = groups.pop(_MAIN_GROUP, Runs(()))
    methods = runs.methods(MAIN_PARALLEL)
    every = compare(runs, methods, MAIN_PARALLEL)
    return Results(
        runs,
        Runs(row for row in idle if row.idle),
        compare(runs, [method for method in methods if method != "qlognei"], MAIN_PARALLEL),
        every if every and "qlognei" in every.methods else None,
        asks,
        [Group(name, evaluations, group) for (name, evaluations), group in groups.items()],
    )


_MAIN_GROUP = ("all", EVALUATIONS)


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, int], Runs]:
    """By group and evaluations: the groups in their order, the longest runs first."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((group_of(row.problem) or "other", row.evaluations), []).append(row)
    order = [*GROUPS, "other"]
    return {key: Runs(found[key]) for key in sorted(found, key=lambda key: (order.index(key[0]), -key[1]))}
