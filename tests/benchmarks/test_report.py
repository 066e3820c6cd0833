"""The report: its sentences must follow from the rows, and what is missing must be said."""

from collections.abc import Mapping
from datetime import date

import pytest
from proposing.asks import Timing
from proposing.report import page
from proposing.simulation import EVALUATIONS, Row
from proposing.statistics import Results, collect
from proposing.verdict import checks, shortcomings
from tests.benchmarks.desk import row

METHODS = ("cnnbo", "random", "tpe", "gpsampler", "qlognei")


CHANCE = ("band8-0", "band8-1", "street", "drawn")
"""A problem of each group in which most configurations are at chance."""


def results(ends: Mapping[str, float], ask_s: float = 0.5, failed: Mapping[str, int] | None = None) -> Results:
    """Two seeds on `network`, `memory` and problems with chance, on which each method gets its value at once.

    The baseline, which takes part in the last ones, is a little worse than the best and better than the worst.
    """
    return collect(
        [
            made(method, end, seed, problem, (failed or {}).get(method, 0) if problem == "memory" else 0)
            for method, end in [*ends.items(), ("constant", 1.5)]
            for seed in (0, 1)
            for problem in (*(("network", "memory") if method != "constant" else ()), *CHANCE)
        ],
        [row([1.0], method=method, ask_s=[9.0] * 13 + [ask_s] * (EVALUATIONS - 13), idle=True) for method in ends],
        [Timing(50, 0, 1, (ask_s,)), Timing(50, 0, 8, (3.5 * ask_s**2,)), Timing(500, 9, 1, (2.5 * ask_s,))],
    )


def made(method: str, end: float, seed: int, problem: str, failures: int) -> Row:
    values = [end] * (EVALUATIONS - failures) + [None] * failures
    return row(values, method=method, seed=seed, problem=problem)


def text(of: Results) -> str:
    return page(of, set(), date(2026, 1, 2), "2 CPU cores")


BEST = dict(zip(METHODS, (1.0, 5.0, 4.0, 3.0, 2.0), strict=True))
WORST = dict(zip(METHODS, (9.0, 5.0, 4.0, 3.0, 2.0), strict=True))


def test_every_must_holds_where_cnnbo_is_the_best() -> None:
    """All of them are computed; a rank of 1 everywhere, fewer failures and fast asks meet them."""
    best = results(BEST, failed={"cnnbo": 1, "gpsampler": 2, "random": 9, "tpe": 9, "qlognei": 9})
    assert {check.holds for check in checks(best)} == {True}
    assert "Of 29 musts 29 hold, 0 do not hold" in text(best)
    assert shortcomings(results(BEST)) == []
    assert "In none of the numbers below does another method do better." in text(results(BEST))


def test_every_must_that_can_fail_does_where_cnnbo_is_the_worst() -> None:
    """The page may not speak well of cnnbo by itself."""
    worst = results(WORST, ask_s=1.5, failed={"cnnbo": 2})
    held = [check.must for check in checks(worst) if check.holds is not False]
    assert held == ["no configuration proposed twice in a run"]
    assert "| **does not hold** |" in text(worst)
    said = "\n".join(shortcomings(worst))
    assert "Mean rank after 80 evaluations, 5 methods on 2 seeds: cnnbo 5.00, better BoTorch qLogNEI 1.00" in said
    assert "Failed trials of 80 on `memory`: cnnbo 2.0, better random search 0.0" in said


def test_as_good_is_not_lower_but_not_worse() -> None:
    """The musts about random search and TPE ask for a lower rank, the other two for one that is not worse."""
    by_must = {check.must: check.holds for check in checks(results(dict.fromkeys(METHODS, 1.0)))}
    assert by_must["mean rank lower than that of Optuna TPE after 80 evaluations"] is False
    assert by_must["mean rank not worse than that of Optuna GPSampler after 80 evaluations, beyond bootstrap error"]


def test_where_chance_is_one_problem_behind_random_search_is_too_many() -> None:
    """The mean over problems may hide it; the page names it."""
    good = [made(m, end, s, p, 0) for m, end in BEST.items() for s in (0, 1) for p in ("band8-0", "island5-0")]
    bad = [made(m, end, s, "edge6-0", 0) for m, end in (("cnnbo", 2.0), ("random", 1.0)) for s in (0, 1)]
    others = [made(m, 3.0, s, "edge6-0", 0) for m in ("tpe", "gpsampler", "qlognei") for s in (0, 1)]
    found = {check.must: check for check in checks(collect([*good, *bad, *others], []))}
    [behind] = [check for must, check in found.items() if must.startswith("`narrow`: on no problem a mean rank worse")]
    assert behind.holds is False
    assert "on `edge6-0` after 20, 2 seeds" in behind.found
    assert found["`narrow`: mean rank lower than that of Optuna TPE after 40 and 80, beyond bootstrap error"].holds


def test_a_slow_start_does_not_count_against_the_ask_time() -> None:
    """The first asks load libraries; what is demanded begins once 10 trials have ended."""
    asks = [check for check in checks(results(BEST, ask_s=0.25)) if "median ask at most 1.0 s" in check.must]
    assert [(check.found, check.holds) for check in asks] == [("0.25 s", True), ("0.25 s", True)]


@pytest.mark.parametrize("missing", METHODS)
def test_a_method_without_rows_is_said(missing: str) -> None:
    """Reports are also made while runs are under way."""
    present = {method: value for method, value in BEST.items() if method != missing}
    said = text(results(present))
    assert "has 0 of" in said
    assert "cannot be told |" in said


def test_missing_timings_and_devices_are_said() -> None:
    """Neither idle rows nor rows with one device or eight."""
    said = text(collect([row([1.0] * EVALUATIONS)], []))
    assert "There are no rows from an idle machine yet" in said
    assert "| a batch of 8 costs at most 3 single asks | no rows | cannot be told |" in said
    assert "There are no rows with P = 1." in said
    assert "Not enough rows to compare with BoTorch." in said


def test_a_method_that_never_succeeds_is_the_worst_and_said_so() -> None:
    """Neither nan nor a crash."""
    failing = [row([None] * EVALUATIONS, seed=seed, problem="memory") for seed in (0, 1)]
    working = [row([1.0] * EVALUATIONS, seed=seed, problem="memory", method="random") for seed in (0, 1)]
    said = text(collect([*failing, *working], []))
    assert "| `memory` | 80 | none yet | **1.000** |" in said
    assert "| `memory` | > 80 | **1** |" in said
    assert "nan" not in said


def narrow(method: str, end: float, seed: int, evaluations: int = 40) -> Row:
    """A run with 10 failures and 20 values at chance before it comes to its end."""
    values = [None] * 10 + [0.99] * 20 + [end] * (evaluations - 30)
    return row(values, method=method, seed=seed, problem="band8fails-2", parallel=2, chance=0.94)


def test_narrow_problems_have_a_section_with_what_was_at_chance() -> None:
    """Next to failures, with the one-line baseline among the methods, and at the lengths that were run."""
    ends = {"constant": 0.3, "cnnbo": 0.2, "random": 0.5, "tpe": 0.4}
    said = text(collect([narrow(method, end, seed) for method, end in ends.items() for seed in (0, 1)], []))
    section = said[said.index("### `narrow`, 40 evaluations") : said.index("## What is measured")]
    assert "| mean rank | after 20 | after 40 |" in section
    assert "| cnnbo (chance constant) | **2.50 (2.50 to 2.50)** | 2.00 (2.00 to 2.00) |" in section
    assert "| `band8fails-2` | 40 | **0.2000** | 0.3000 | 0.5000 | 0.4000 |" in section
    assert "| failed on `band8fails-2`, mean of 40 | **10.0** | **10.0** | **10.0** | **10.0** |" in section
    assert "| at chance on `band8fails-2`, mean of 40 | **20.0** | **20.0** | **20.0** | **20.0** |" in section
    assert "| `band8fails-2` | **31** | **31** | **31** | **31** |" in section


def test_the_baseline_is_not_missed_on_problems_without_chance() -> None:
    """There it is cnnbo itself."""
    assert "(chance constant) has 0 of" not in text(results(BEST))


def test_a_figure_of_a_group_is_shown_where_it_was_drawn() -> None:
    """Its name says which group and length it is of."""
    of = collect([narrow("cnnbo", 0.2, 0)], [])
    assert "(figures/best_value_narrow_40.svg)" in page(of, {of.others[0].stem}, date(2026, 1, 2), "2 CPU cores")
