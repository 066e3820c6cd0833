"""Methods compared with the reference: ranks, effect sizes, and what so few runs can show at all."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from cnnbo.cli.reporting import captions
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.costs import reference
from cnnbo.cli.reporting.held_out import CONFIRMED, FOUND, chosen
from cnnbo.cli.reporting.parts import Cell, Column, Table
from cnnbo.cli.reporting.statistics import RankTest, largest_u, rank_test, smallest_p
from cnnbo.cli.reporting.traces import area, best_seen, floor_value
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.comparison import Line, Members, lines
from cnnbo.scheduler.spec import Direction, Plan

Values = Mapping[int, float]
"""A measure of each run, by the run's number."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One measure of a line's runs beside that of the reference's.

    Attributes:
        line, other: which is compared with which.
        measure: what is compared.
        first, second: the measure in each of their runs.
        test: how they compare.
        pairs_won, pairs: in how many of the runs of equal number, which share their seeds, the first is better.
    """

    line: Line
    other: Line
    measure: str
    first: Values
    second: Values
    test: RankTest
    pairs_won: int
    pairs: int


def contrasts(members: Members, plan: Plan) -> tuple[Contrast, ...]:
    """Every method beside the reference, and beside the reference with twice the trials, by every measure."""
    base = reference(plan)
    direction = members.studies[0].spec.direction
    against = [line for line in lines(plan) if line.method == base.method]
    found = []
    for other in against:
        theirs = dict(_measures(members, other))
        for line in lines(plan):
            if line.method == base.method:
                continue
            for measure, values in _measures(members, line):
                contrast = _contrast(line, other, measure, values, theirs.get(measure, {}), direction)
                # Means over other numbers of evaluations are not to be compared.
                if contrast is not None and not (other.is_twice and measure == AREA):
                    found.append(contrast)
    return tuple(found)


AREA = "area under the trace"
BEST = "best found, validation"
HELD_OUT = {FOUND: "best found, test", CONFIRMED: "confirmed, test"}


def _measures(members: Members, line: Line) -> Iterable[tuple[str, Values]]:
    """Each measure with its values by run; only runs that have one."""
    direction = members.studies[0].spec.direction
    floor = floor_value(members.studies[0].spec, list(members.search.values()))
    traces = {
        study.spec.part.run: best_seen(study, line.evaluations)
        for study in members.runs(line.method)
        if study.spec.part is not None
    }
    picked = chosen(members, line)
    found = {choice.run: choice.validation for choice in picked if choice.rule == FOUND}
    # A run that found nothing is worse than any other; left out it would flatter its method.
    yield BEST, {run: found.get(run, floor) for run, trace in traces.items() if len(trace) and floor is not None}
    if floor is not None:
        yield AREA, {run: area(trace, floor, direction) for run, trace in traces.items() if len(trace)}
    for rule, name in HELD_OUT.items():
        yield name, {c.run: c.test for c in picked if c.rule == rule and c.test is not None}


def _contrast(
    line: Line, other: Line, measure: str, first: Values, second: Values, direction: Direction
) -> Contrast | None:
    is_lower_better = direction is Direction.MINIMIZE
    test = rank_test(list(first.values()), list(second.values()), is_lower_better)
    if test is None:
        return None
    pairs = sorted(set(first) & set(second))
    won = sum((first[run] < second[run]) if is_lower_better else (first[run] > second[run]) for run in pairs)
    return Contrast(line, other, measure, first, second, test, won, len(pairs))


def contrast_table(members: Members, plan: Plan, context: Context) -> Table | None:
    """Tests and effect sizes of every contrast; None where there is none (yet)."""
    found = contrasts(members, plan)
    if not found:
        return None
    rows: list[tuple[Cell, ...]] = [
        (
            c.line.label,
            c.other.label,
            c.measure,
            len(c.first),
            len(c.second),
            float(np.median(list(c.first.values()))),
            float(np.median(list(c.second.values()))),
            c.test.u,
            c.test.p,
            c.test.superiority.value,
            c.test.superiority.low,
            c.test.superiority.high,
            c.pairs_won,
            c.pairs,
            c.test.method,
        )
        for c in found
    ]
    return Table(
        "contrasts",
        "Methods compared",
        "Mann and Whitney's U of the first method's runs and its two-sided p, not corrected for the number of rows; "
        "the probability that a run of the first is better than one of the second (Vargha and Delaney's A, 0.5 where "
        "there is no difference) with Newcombe's 95 % interval. The area under the trace is the mean of the best seen "
        f"over all evaluations, where {_floor_words(members)} counts before the first success, and as what a run found "
        "that has none. Pairs are runs of the same number: they share the seeds of their trainings, trial by trial, "
        "but not their configurations. "
        f"{captions.where(context)}",
        (
            Column("method", "Method"),
            Column("against", "Against"),
            Column("measure", "Measure"),
            Column("n_first", "n"),
            Column("n_second", "n, against"),
            Column("median_first", "Median", ".4f"),
            Column("median_second", "Median, against", ".4f"),
            Column("u", "U", ".1f"),
            Column("p", "p", ".4f"),
            Column("superiority", "P(better)", ".2f"),
            Column("superiority_low", "Low", ".2f"),
            Column("superiority_high", "High", ".2f"),
            Column("pairs_won", "Pairs won"),
            Column("pairs", "Pairs"),
            Column("p_method", "How p was found"),
        ),
        tuple(rows),
    )


def _floor_words(members: Members) -> str:
    spec = members.studies[0].spec
    floor = floor_value(spec, list(members.search.values()))
    if spec.model == SVHN_CNN.name:
        return f"{floor:g}, the share of right answers when one of ten digits is guessed,"
    return f"the worst value of any run, {captions.plain(floor)},"


def limits(runs: int) -> str:
    """What so many runs of each method can show at all, in two or three sentences.

    >>> limits(5)[:86]
    'With 5 runs against 5 the smallest two-sided p that there is, without ties, is 0.0079,'
    """
    least, u = smallest_p(runs, runs), largest_u(runs, runs)
    needed = (
        f"and it takes U \N{LESS-THAN OR EQUAL TO} {u} or U \N{GREATER-THAN OR EQUAL TO} {runs * runs - u} for p < 0.05"
        if u is not None
        else "so that no outcome gives p < 0.05"
    )
    sign = 2 / math.pow(2, runs)
    return (
        f"With {runs} runs against {runs} the smallest two-sided p that there is, without ties, is {least:.4f}, "
        f"{needed}. The runs are paired by their seeds, but a sign test of {runs} pairs has no p below "
        f"{min(1.0, sign):.4f}, so that pairs are counted and not tested."
    )
