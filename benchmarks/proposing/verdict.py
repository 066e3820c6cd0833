"""What was demanded of cnnbo's proposer, and where it is not the best: both follow from the rows alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from proposing import markdown
from proposing.labels import label
from proposing.simulation import EVALUATIONS
from proposing.statistics import (
    CHECKPOINTS,
    MAIN_PARALLEL,
    Comparison,
    Floats,
    Interval,
    Results,
    evaluations_to_target,
    told_before,
)

OURS = "cnnbo"

_WITH_CHANCE = ("narrow", "narrow-final", "live", "live-final")
"""Groups of problems most of whose configurations are at chance."""

_MAX_ASK_S = 1.0
_MAX_ASK_500_S = 3.0
_MAX_BATCH_RATIO = 3.0

FIRST_TIMED_ASK = next(number for number in range(EVALUATIONS) if told_before(number, MAIN_PARALLEL) >= 10)
"""The first ask, from 0, before which at least 10 trials have ended."""

TIMED_AROUND_50 = (50, 60)
"""First and last ask, from 0, of the stretch with about 50 values observed and 3 trials running."""


@dataclass(frozen=True)
class Check:
    """One must.

    Attributes:
        must: what is demanded.
        found: the numbers.
        holds: None where rows are missing.
    """

    must: str
    found: str
    holds: bool | None


def checks(results: Results) -> list[Check]:
    """Everything promised: the ranks, failures and duplicates first, then the ask times."""
    lower = [("random", 40), ("random", 80), ("tpe", 40), ("tpe", 80)]
    return [
        *[_is_lower(results.common, other, n) for other, n in lower],
        _is_not_worse(results.common, "gpsampler", 80),
        _is_not_worse(results.every, "qlognei", 20),
        _is_not_worse(results.every, "qlognei", 40),
        _fails_less(results),
        _no_duplicates(results),
        _asks_fast(results, FIRST_TIMED_ASK, None, "all asks after 10 trials have ended"),
        _asks_fast(results, *TIMED_AROUND_50, "asks {} to {}, about 50 observed".format(*TIMED_AROUND_50)),
        _batch_is_cheap(results),
        _many_observations(results),
        *[check for name in _WITH_CHANCE for check in _where_chance_is(name, results.comparison_of(name))],
    ]


def _where_chance_is(name: str, comparison: Comparison | None) -> list[Check]:
    """What is demanded on a group of problems most of which is at chance: ahead of all, and nowhere behind luck."""
    beyond = [(other, "beyond bootstrap error", lambda found: found.high < 0) for other in ("tpe", "gpsampler")]
    ahead = [("constant", "if only by the estimate", lambda found: found.value < 0)]
    return [
        *[_is_ahead(name, comparison, other, how, holds) for other, how, holds in (*beyond, *ahead)],
        _is_nowhere_worse(name, comparison, "random"),
    ]


def _is_ahead(
    name: str, comparison: Comparison | None, other: str, how: str, holds: Callable[[Interval], bool]
) -> Check:
    at = CHECKPOINTS[1:]
    when = markdown.enumeration([str(n) for n in at])
    must = f"`{name}`: mean rank lower than that of {label(other)} after {when}, {how}"
    if comparison is None or not comparison.has(OURS, other):
        return Check(must, markdown.NOTHING, None)
    found = [comparison.difference(OURS, other, n) for n in at]
    words = markdown.enumeration([markdown.interval(difference, sign=True) for difference in found])
    return Check(must, f"differences {words}, {len(comparison.seeds)} seeds", all(map(holds, found)))


def _is_nowhere_worse(name: str, comparison: Comparison | None, other: str) -> Check:
    must = (
        f"`{name}`: on no problem a mean rank worse than that of {label(other)} after "
        f"{markdown.enumeration([str(n) for n in CHECKPOINTS])}, beyond bootstrap error"
    )
    if comparison is None or not comparison.has(OURS, other):
        return Check(must, markdown.NOTHING, None)
    found = {(p, n): comparison.on(p).difference(OURS, other, n) for p in comparison.problems for n in CHECKPOINTS}
    (problem, n), worst = max(found.items(), key=lambda item: item[1].low)
    words = f"the worst is {markdown.interval(worst, sign=True)} on `{problem}` after {n}"
    return Check(must, f"{words}, {len(comparison.seeds)} seeds", worst.low <= 0)


def _is_lower(comparison: Comparison | None, other: str, n: int) -> Check:
    must = f"mean rank lower than that of {label(other)} after {n} evaluations"
    return _difference_check(comparison, other, n, must, lambda value, low: value < 0)


def _is_not_worse(comparison: Comparison | None, other: str, n: int) -> Check:
    must = f"mean rank not worse than that of {label(other)} after {n} evaluations, beyond bootstrap error"
    return _difference_check(comparison, other, n, must, lambda value, low: low <= 0)


def _difference_check(
    comparison: Comparison | None, other: str, n: int, must: str, holds: Callable[[float, float], bool]
) -> Check:
    if comparison is None or not comparison.has(OURS, other):
        return Check(must, markdown.NOTHING, None)
    difference = comparison.difference(OURS, other, n)
    found = f"{markdown.interval(difference, sign=True)}, {len(comparison.seeds)} seeds"
    return Check(must, f"difference {found}", holds(difference.value, difference.low))


def _fails_less(results: Results) -> Check:
    must = "fewer failed trials on `memory` than Optuna GPSampler"
    ours, theirs = (results.runs.failures(method, MAIN_PARALLEL, "memory") for method in (OURS, "gpsampler"))
    if ours is None or theirs is None:
        return Check(must, markdown.NOTHING, None)
    return Check(must, f"{ours:.1f} against {theirs:.1f} of {EVALUATIONS}", ours < theirs)


def _no_duplicates(results: Results) -> Check:
    must = "no configuration proposed twice in a run"
    count = results.runs.duplicates(OURS)
    if count is None:
        return Check(must, markdown.NOTHING, None)
    return Check(must, f"{count} in {len(results.runs.rows(OURS))} runs", count == 0)


def _asks_fast(results: Results, first: int, last: int | None, which: str) -> Check:
    must = f"median ask at most {_MAX_ASK_S:.1f} s ({which})"
    took = results.idle.ask_seconds(OURS, MAIN_PARALLEL, first, last)
    if not len(took):
        return Check(must, "no idle rows", None)
    return Check(must, f"{markdown.seconds(float(np.median(took)))} s", bool(np.median(took) <= _MAX_ASK_S))


def _batch_is_cheap(results: Results) -> Check:
    must = f"a batch of 8 costs at most {_MAX_BATCH_RATIO:g} single asks"
    singles, batches = results.ask_medians(50, 1), results.ask_medians(50, 8)
    if not singles or not batches:
        return Check(must, markdown.NOTHING, None)
    ratio = batches[0] / singles[0]  # both without failures
    return Check(must, f"{ratio:.1f} of them", ratio <= _MAX_BATCH_RATIO)


def _many_observations(results: Results) -> Check:
    must = f"median ask at most {_MAX_ASK_500_S:g} s with 500 observations"
    took = results.ask_medians(500, 1)
    if not took:
        return Check(must, markdown.NOTHING, None)
    found = f"{markdown.seconds(max(took))} s, the longer of those with and without failures"
    return Check(must, found, max(took) <= _MAX_ASK_500_S)


# -- where cnnbo is not the best --------------------------------------------------------------------------------------


def shortcomings(results: Results) -> list[str]:
    """A sentence for every number of the report in which another method is better than cnnbo, by however little."""
    return [
        *_worse_ranks(results.common),
        *_worse_ranks(results.every),
        *_worse_values(results),
        *_slower_to_target(results),
        *_more_failures(results),
        *_more_duplicates(results),
        *_slower_asks(results),
    ]


def _worse_ranks(comparison: Comparison | None) -> list[str]:
    if comparison is None or OURS not in comparison.methods:
        return []
    sentences = []
    for n in CHECKPOINTS:
        ours = comparison.mean_rank(OURS, n).value
        ranks = {method: comparison.mean_rank(method, n).value for method in comparison.methods}
        better = [f"{label(m)} {rank:.2f}" for m, rank in sorted(ranks.items(), key=lambda i: i[1]) if rank < ours]
        if better:
            among = f"{len(comparison.methods)} methods on {len(comparison.seeds)} seeds"
            sentences.append(
                f"Mean rank after {n} evaluations, {among}: cnnbo {ours:.2f}, better {markdown.enumeration(better)}."
            )
    return sentences


def _worse_values(results: Results) -> list[str]:
    """By problem, by the medians as the tables print them."""
    sentences = []
    for parallel in results.runs.parallels():
        for problem in results.runs.problems(parallel):
            medians = {m: results.runs.medians(m, parallel, problem) for m in results.runs.methods(parallel)}
            parts = [f"after {n} {part}" for n in CHECKPOINTS if (part := _against(_at(medians, n), markdown.value))]
            if parts:
                devices = "" if parallel == MAIN_PARALLEL else f", P = {parallel}"
                sentences.append(f"Median best value on `{problem}`{devices}: {'; '.join(parts)}.")
    return sentences


def _at(curves: Mapping[str, Floats | None], n: int) -> dict[str, float | None]:
    return {method: None if curve is None else float(curve[n - 1]) for method, curve in curves.items()}


def _slower_to_target(results: Results) -> list[str]:
    sentences = []
    for problem in results.runs.problems(MAIN_PARALLEL):
        needed = {m: evaluations_to_target(results.runs, m, MAIN_PARALLEL, problem) for m in _methods(results)}
        if (sentence := _against(needed, lambda number: markdown.evaluations(number, EVALUATIONS))) is not None:
            sentences.append(f"Evaluations to reach random search's best of {EVALUATIONS} on `{problem}`: {sentence}.")
    return sentences


def _more_failures(results: Results) -> list[str]:
    sentences = []
    for problem in results.runs.problems(MAIN_PARALLEL):
        failures = {method: results.runs.failures(method, MAIN_PARALLEL, problem) for method in _methods(results)}
        if (sentence := _against(failures, lambda number: f"{number:.1f}")) is not None:
            sentences.append(f"Failed trials of {EVALUATIONS} on `{problem}`: {sentence}.")
    return sentences


def _more_duplicates(results: Results) -> list[str]:
    counts = {m: results.runs.duplicates(m, MAIN_PARALLEL) for m in _methods(results)}
    sentence = _against(counts, lambda number: f"{number:g}")
    return [f"Duplicates in all runs with {MAIN_PARALLEL} devices: {sentence}."] if sentence else []


def _slower_asks(results: Results) -> list[str]:
    medians = {
        method: float(np.median(results.idle.ask_seconds(method, MAIN_PARALLEL, FIRST_TIMED_ASK)))
        for method in results.idle.methods(MAIN_PARALLEL)
    }
    sentence = _against(medians, markdown.seconds)
    return [f"Median seconds of an ask: {sentence}."] if sentence else []


def _methods(results: Results) -> list[str]:
    return results.runs.methods(MAIN_PARALLEL)


def _against(numbers: Mapping[str, float | None], text: Callable[[float], str]) -> str | None:
    """`cnnbo 3, better b 1 and c 2`, where a method has a lower number than cnnbo."""
    ours = numbers.get(OURS)
    if ours is None:
        return None
    better = {method: n for method, n in numbers.items() if n is not None and n < ours and text(n) != text(ours)}
    words = [f"{label(method)} {text(number)}" for method, number in sorted(better.items(), key=lambda i: i[1])]
    return f"cnnbo {text(ours)}, better {markdown.enumeration(words)}" if words else None
