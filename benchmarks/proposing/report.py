"""The page `RESULTS.md`: what the rows say, in words and tables. No verdict stands here that is not computed."""

import os
import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from proposing import asks, rows
from proposing.labels import LABELS, label
from proposing.markdown import (
    NOTHING,
    bullets,
    enumeration,
    evaluations,
    interval,
    paragraphs,
    seconds,
    table,
    value,
    with_best,
)
from proposing.problems import PROBLEMS
from proposing.simulation import EVALUATIONS
from proposing.statistics import (
    MAIN_PARALLEL,
    Comparison,
    Group,
    Results,
    Runs,
    checkpoints,
    collect,
    compare,
    evaluations_to_target,
)
from proposing.verdict import FIRST_TIMED_ASK, OURS, TIMED_AROUND_50, checks, shortcomings

_OTHER_PROBLEMS = 3
_PLAN = {
    1: dict.fromkeys(("cnnbo", "random", "gpsampler"), 5 * _OTHER_PROBLEMS),
    MAIN_PARALLEL: {
        # The baseline differs from cnnbo only where there is chance, which these problems do not speak of.
        method: (5 if method == "qlognei" else 10) * len(PROBLEMS)
        for method in LABELS
        if method != "constant"
    },
    8: dict.fromkeys(("cnnbo", "random", "gpsampler"), 5 * _OTHER_PROBLEMS),
}
"""Runs of the benchmark's own problems by devices and method; what is missing is said."""

_FIGURES = {
    "best_value": "Median best value (noise-free value of the incumbent) over evaluations with quartiles, by problem. "
    "The axes begin after the designs; lines that come in from above were worse there.",
    "mean_rank": "Mean rank over evaluations with 95 % bootstrap bands; 1 is the best and at the top.",
    "ask_seconds": "Seconds of each ask on the idle machine, median and quartiles over runs, on a logarithmic axis.",
}


def write(folder: Path, out: Path) -> list[Path]:
    """Write the page of a folder of rows and its figures, into `figures` beside it; what was written.

    Raises:
        ValueError: a line is no row, or there are no rows at all.
        ImportError: matplotlib is not installed here.
    """
    results = collect(
        rows.load(sorted(folder.glob("*.jsonl"))),
        rows.load(sorted((folder / "idle").glob("*.jsonl"))),
        asks.load(folder / "idle" / "asks.json"),
    )
    if not len(results.runs) and not results.others:
        raise ValueError(f"There are no rows in {folder}; make them with `python benchmarks/proposer.py run`.")
    from proposing import plots  # here, so that the page can be made and tested without matplotlib

    figures = plots.draw(results, out.parent / "figures")
    machine = f"{os.cpu_count()} CPU cores and {platform.system()}"
    out.write_text(page(results, {path.stem for path in figures}, date.today(), machine))
    return [out, *figures]


def page(results: Results, figures: set[str], today: date, machine: str) -> str:
    """The whole page.

    Args:
        results: of the rows.
        figures: stems of the figures that were drawn.
        today: the day on which the page is written.
        machine: in general words, what it is written on.
    """
    sections = {
        "Verdict": _verdict(results),
        "Where cnnbo is not the best": _not_best(results),
        "What was compared": _compared(results, today, machine),
        "Mean ranks": _ranks(results, figures),
        "Best values": _values(results, figures),
        f"Evaluations to reach random search's best of {EVALUATIONS}": _targets(results.runs, MAIN_PARALLEL),
        "Failed trials and duplicates": _failures_and_duplicates(results.runs),
        "Ask times": _ask_times(results, figures),
        "One device, and eight": _other_parallels(results.runs),
        "Narrow problems, trained ones, and other budgets": _others(results, figures),
        "What is measured, and its limits": _LIMITS,
        "How to run it again": _AGAIN,
    }
    body = [f"## {title}\n\n{text}" for title, text in sections.items()]
    return paragraphs("# Proposers compared", _headline(results), *body) + "\n"


# -- the verdict ------------------------------------------------------------------------------------------------------


def _headline(results: Results) -> str:
    runs, found = results.runs, [check.holds for check in checks(results)]
    methods = [label(method) for method in runs.methods(MAIN_PARALLEL)]
    return paragraphs(
        f"{enumeration(methods)} on {len(runs.problems(MAIN_PARALLEL))} problems, {EVALUATIONS} evaluations a run, "
        f"{MAIN_PARALLEL} devices on a simulated clock. {_order(results.common)} {_order(results.every)}".strip(),
        f"Of {len(found)} musts {found.count(True)} hold, {found.count(False)} do not hold and {found.count(None)} "
        "cannot be told for want of rows.",
        "Not all planned runs have been made; what is missing stands under *What was compared*. All numbers may change."
        if _missing(results)
        else "",
        "This page is written by `python benchmarks/proposer.py report` from the rows in `benchmarks/rows/`; do not "
        "edit it.",
    )


def _order(comparison: Comparison | None) -> str:
    """The methods by mean rank at the end of the budget."""
    if comparison is None:
        return ""
    ranks = {method: comparison.mean_rank(method, EVALUATIONS).value for method in comparison.methods}
    words = [f"{label(method)} {rank:.2f}" for method, rank in sorted(ranks.items(), key=lambda item: item[1])]
    return (
        f"Mean ranks after {EVALUATIONS} evaluations among {len(words)} methods on {len(comparison.seeds)} common "
        f"seeds (1 is the best): {enumeration(words)}."
    )


def _verdict(results: Results) -> str:
    words = {True: "holds", False: "**does not hold**", None: "cannot be told"}
    lines = [(check.must, check.found, words[check.holds]) for check in checks(results)]
    return paragraphs(
        'Differences are mean rank of cnnbo minus that of the other, below 0 where cnnbo is better. "Not worse beyond '
        'bootstrap error" means that the 95 % interval of the difference does not lie wholly above 0.',
        table(("must", "found", ""), lines, words=3),
    )


def _not_best(results: Results) -> str:
    if OURS not in results.runs.methods():
        return "There are no rows of cnnbo yet."
    found = shortcomings(results)
    if not found:
        return "In none of the numbers below does another method do better."
    return paragraphs(
        "Every number below in which another method does better than cnnbo, by however little; whether the difference "
        "is more than chance is another question, which the intervals answer for the ranks.",
        bullets(found),
    )


# -- what was compared ------------------------------------------------------------------------------------------------


def _compared(results: Results, today: date, machine: str) -> str:
    return paragraphs(
        f"Written on {today.isoformat()} on a machine with {machine}; every method had one thread and no GPU. Runs "
        "that there are rows of, and what the rows say they ran on:",
        _rows_table(results),
        bullets(_missing(results)),
        table(
            ("problem", "what is hard about it"),
            [(f"`{name}`", problem.kind) for name, problem in PROBLEMS.items()],
            words=2,
        ),
        _METHODS,
    )


def _rows_table(results: Results) -> str:
    lines = []
    for method in _PLAN[MAIN_PARALLEL]:
        counts = [_count(results.runs, method, parallel) for parallel in _PLAN]
        idle = str(len(results.idle.rows(method)))
        lines.append((f"{label(method)} (`{method}`)", _versions(results, method), *counts, idle))
    return table(("method", "versions", *(f"P = {parallel}" for parallel in _PLAN), "idle"), lines, words=2)


def _count(runs: Runs, method: str, parallel: int) -> str:
    count, planned = len(runs.rows(method, parallel)), _PLAN[parallel].get(method, 0)
    return f"{count} of {planned}" if count < planned else str(count)


def _versions(results: Results, method: str) -> str:
    """By package; all of them where rows differ."""
    found: dict[str, set[str]] = {}
    for row in [*results.runs.rows(method), *results.idle.rows(method)]:
        for package, number in row.versions.items():
            found.setdefault(package, set()).add(number)
    return ", ".join(f"{package} {' or '.join(sorted(numbers))}" for package, numbers in found.items()) or NOTHING


def _missing(results: Results) -> list[str]:
    """What the tables lack for want of rows."""
    sentences = [
        f"P = {parallel}: {label(method)} has {len(results.runs.rows(method, parallel))} of {count} planned runs."
        for parallel, planned in _PLAN.items()
        for method, count in planned.items()
        if len(results.runs.rows(method, parallel)) < count
    ]
    if not len(results.idle):
        sentences.append("There are no rows from an idle machine, so no ask times.")
    return sentences


_METHODS = """\
- cnnbo: the default optimizer behind a study, with the settings that the daemon fills in (a Sobol design of D +
  1 points, or P if that is more, then the surrogate). It is told that a failed trial ran out of memory.
- random search: cnnbo's own `random`, over the same encoding.
- Optuna TPE: `TPESampler(multivariate=True, constant_liar=True)`; the liar is for parallel trials.
- Optuna GPSampler: `GPSampler()`. Failed trials are told as failed to both Optuna samplers.
- BoTorch qLogNEI: `SingleTaskGP` and `qLogNoisyExpectedImprovement` with running trials as `X_pending`, the
  same size of design as cnnbo's, choices one-hot. BoTorch leaves failures to its caller; here failed points
  stay pending.

All methods have the same budget and the same seeds, as far as they were run, and meet the same noise and the
same luck with durations."""


# -- tables -----------------------------------------------------------------------------------------------------------


def _ranks(results: Results, figures: set[str]) -> str:
    return paragraphs(
        f"Mean over problems and seeds of the rank by best value, {MAIN_PARALLEL} devices; 1 is the best. In brackets "
        "the 95 % percentile bootstrap interval over seeds, resampled jointly over problems and methods.",
        _rank_tables(results.common, "Not enough rows to compare the methods on common seeds."),
        _rank_tables(results.every, "Not enough rows to compare with BoTorch."),
        _figure("mean_rank", figures),
    )


def _rank_tables(comparison: Comparison | None, otherwise: str) -> str:
    """Mean ranks, then paired differences to cnnbo."""
    if comparison is None:
        return otherwise
    looked_at = checkpoints(comparison.evaluations)
    ranks = {m: [comparison.mean_rank(m, n) for n in looked_at] for m in comparison.methods}
    columns = [with_best([r.value for r in at], [interval(r) for r in at]) for at in zip(*ranks.values(), strict=True)]
    lines = [(label(method), *cells) for method, cells in zip(ranks, zip(*columns, strict=True), strict=True)]
    header = tuple(f"after {n}" for n in looked_at)
    return paragraphs(
        f"**{len(ranks)} methods, {len(comparison.seeds)} seeds, {len(comparison.problems)} problems**",
        table(("mean rank", *header), lines),
        _differences(comparison, header),
    )


def _differences(comparison: Comparison, header: Sequence[str]) -> str:
    if OURS not in comparison.methods:
        return ""
    lines = [
        (
            label(other),
            *(interval(comparison.difference(OURS, other, n), sign=True) for n in checkpoints(comparison.evaluations)),
        )
        for other in comparison.methods
        if other != OURS
    ]
    return table(("mean rank of cnnbo minus that of", *header), lines)


def _values(results: Results, figures: set[str]) -> str:
    return paragraphs(
        f"Median over seeds, {MAIN_PARALLEL} devices: the value without noise of the trial that looked best so far. "
        f"Lower is better; bold is the lowest as printed. {_seeds(results.runs, MAIN_PARALLEL)}",
        _median_table(results.runs, MAIN_PARALLEL),
        _figure("best_value", figures),
    )


def _seeds(runs: Runs, parallel: int) -> str:
    """How many seeds the medians of each method are over."""
    words = []
    for method in runs.methods(parallel):
        counts = {len(runs.rows(method, parallel, problem)) for problem in runs.problems(parallel)}
        words.append(f"{label(method)} {' to '.join(str(count) for count in sorted({min(counts), max(counts)}))}")
    return f"Seeds: {', '.join(words)}."


def _median_table(runs: Runs, parallel: int) -> str:
    methods, lines = runs.methods(parallel), []
    for problem in runs.problems(parallel):
        curves = [runs.medians(method, parallel, problem) for method in methods]
        for n in checkpoints(runs.evaluations):
            medians = [None if curve is None else float(curve[n - 1]) for curve in curves]
            lines.append((f"`{problem}`", str(n), *with_best(medians, [value(median) for median in medians])))
    return table(("problem", "after", *map(label, methods)), lines)


def _targets(runs: Runs, parallel: int) -> str:
    return paragraphs(
        f"By problem, the median over seeds of the evaluations after which the best value is at most random search's "
        f"median after {EVALUATIONS}; `> {EVALUATIONS}` where half the runs never get there. The last line is the "
        "median over problems.",
        _target_table(runs, parallel),
    )


def _target_table(runs: Runs, parallel: int) -> str:
    methods, problems = runs.methods(parallel), runs.problems(parallel)
    needed = {p: [evaluations_to_target(runs, method, parallel, p) for method in methods] for p in problems}
    needed["median over problems"] = [_median(counts) for counts in zip(*needed.values(), strict=True)]
    budget = runs.evaluations
    lines = [
        (f"`{name}`" if name in problems else name, *with_best(counts, [evaluations(n, budget) for n in counts]))
        for name, counts in needed.items()
    ]
    return table(("problem", *map(label, methods)), lines)


def _median(counts: Sequence[float | None]) -> float | None:
    """None where one is unknown: a median over other problems is no match for the others' medians."""
    return None if None in counts else float(np.median(np.array(counts, dtype=np.float64)))


def _failures_and_duplicates(runs: Runs) -> str:
    return paragraphs(
        f"With {MAIN_PARALLEL} devices. A duplicate is a configuration that had been asked for before in the same run. "
        "On problems that are not listed nothing failed.",
        _counts_table(runs, MAIN_PARALLEL),
    )


def _counts_table(runs: Runs, parallel: int) -> str:
    """What trials came to that have no value of use, and how often one was asked for twice."""
    methods = runs.methods(parallel)
    duplicates = [runs.duplicates(method, parallel) for method in methods]
    return table(
        ("", *map(label, methods)),
        [
            *_counts_by_problem(runs, parallel, "failed", runs.failures),
            *_counts_by_problem(runs, parallel, "at chance", runs.at_chance),
            ("duplicates, total", *with_best(duplicates, [str(n) for n in duplicates])),
            ("runs", *(str(len(runs.rows(method, parallel))) for method in methods)),
        ],
    )


def _counts_by_problem(
    runs: Runs, parallel: int, what: str, count: Callable[[str, int, str], float | None]
) -> list[tuple[str, ...]]:
    """A line for each problem on which that happened at all."""
    counted = {p: [count(m, parallel, p) for m in runs.methods(parallel)] for p in runs.problems(parallel)}
    return [
        (f"{what} on `{problem}`, mean of {runs.evaluations}", *with_best(counts, [_one_decimal(n) for n in counts]))
        for problem, counts in counted.items()
        if any(counts)
    ]


def _one_decimal(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.1f}"


def _ask_times(results: Results, figures: set[str]) -> str:
    idle = results.idle
    if not idle.methods(MAIN_PARALLEL):
        return "There are no rows from an idle machine yet; times of runs that share a machine would mislead."
    lines = []
    for method in idle.methods(MAIN_PARALLEL):
        late = idle.ask_seconds(method, MAIN_PARALLEL, FIRST_TIMED_ASK)
        around = idle.ask_seconds(method, MAIN_PARALLEL, *TIMED_AROUND_50)
        numbers = [float(np.median(late)), float(np.percentile(late, 95)), float(np.median(around))]
        covered = {row.problem for row in idle.rows(method, MAIN_PARALLEL)}
        count = f"{len(idle.rows(method, MAIN_PARALLEL))} on {len(covered)}"
        lines.append((label(method), *(seconds(number) for number in numbers), count))
    lacking = [label(method) for method in _PLAN[MAIN_PARALLEL] if method not in idle.methods(MAIN_PARALLEL)]
    header = ("seconds an ask", "median", "95th percentile", "median of asks {} to {}".format(*TIMED_AROUND_50))
    return paragraphs(
        f"From runs made one at a time on an otherwise idle machine, one thread, {MAIN_PARALLEL} devices. The first "
        "two columns are of all asks before which at least 10 trials had ended (from ask "
        f"{FIRST_TIMED_ASK} on, counted from 0); the third of those with about 50 observed and "
        f"{MAIN_PARALLEL - 1} running.",
        table((*header, "runs, problems"), lines),
        f"No idle rows: {enumeration(lacking)}." if lacking else "",
        _figure("ask_seconds", figures),
        _own_asks(results.asks),
    )


def _own_asks(timings: Sequence[asks.Timing]) -> str:
    if not timings:
        return "cnnbo's asks by observations and batch have not been timed."
    lines = [
        (str(t.observed), str(t.failed), str(t.count), seconds(t.median), seconds(max(t.seconds))) for t in timings
    ]
    return paragraphs(
        f"cnnbo's own asks on random trials of `network` (d = 8), {asks.PENDING} pending, {asks.REPEATS} asks each. "
        "Beyond 500 observations the best 250 and a spread of the others are fitted; at most 300 trials tell where "
        "they fail.",
        table(("observed", "failed", "points asked for", "median s", "longest s"), lines),
    )


def _other_parallels(runs: Runs) -> str:
    return paragraphs(*(_other_parallel(runs, parallel) for parallel in _PLAN if parallel != MAIN_PARALLEL))


def _other_parallel(runs: Runs, parallel: int) -> str:
    title = f"### P = {parallel}"
    if not runs.methods(parallel):
        return paragraphs(title, f"There are no rows with P = {parallel}.")
    return paragraphs(title, _compared_with(runs, parallel))


def _compared_with(runs: Runs, parallel: int) -> str:
    """Return ranks, medians and targets of all runs with that number of devices."""
    return paragraphs(
        _rank_tables(compare(runs, runs.methods(parallel), parallel), "Not enough rows to compare on common seeds."),
        f"Median best values. {_seeds(runs, parallel)}",
        _median_table(runs, parallel),
        f"Evaluations to reach random search's median best value of {runs.evaluations} with as many devices:",
        _target_table(runs, parallel),
    )


def _others(results: Results, figures: set[str]) -> str:
    if not results.others:
        return "There are no rows of narrow or live problems yet, nor of runs of another length."
    return paragraphs(_OTHERS, *(_group(group, figures) for group in results.others))


def _group(group: Group, figures: set[str]) -> str:
    parts = [f"### `{group.name}`, {group.evaluations} evaluations"]
    for parallel in group.runs.parallels():
        parts += [
            f"#### P = {parallel}",
            _compared_with(group.runs, parallel),
            _counts_table(group.runs, parallel),
        ]
    return paragraphs(*parts, _figure(group.stem, figures, _FIGURES["best_value"]))


def _figure(stem: str, figures: set[str], caption: str | None = None) -> str:
    """The picture with its caption, that of its stem where no other is given; or that there is none."""
    if stem not in figures:
        return f"(No figure of this: {NOTHING}.)"
    text = _FIGURES[stem] if caption is None else caption
    return f"![{text}](figures/{stem}.svg)\n\n*{text}*"


# -- what does not change ---------------------------------------------------------------------------------------------

_OTHERS = """\
Problems where nine configurations in ten are at chance or fail, some drawn and some that really train, and runs of
other lengths; docs/proposer.md says how they are made. What ends in `-final` was looked at once. Methods are told of
chance as their users would: cnnbo by `[report] chance`, the peers by the value as it is. *cnnbo (chance constant)* is
the baseline of one line: whatever is at chance has one and the same value, and nobody knows that it is chance. Of
trained problems nobody knows the value without noise; what was measured stands for it, which flatters every method."""

_LIMITS = f"""\
After n of {EVALUATIONS} evaluations, in the order in which they end, a run's best value is the value *without*
noise of the trial whose *observed* value is the lowest: what somebody who takes the incumbent gets. A method
without a success is the worst. Methods are ranked within each problem and seed; values that agree to 1e-9 of
themselves are ties and share their average rank. Ranks weigh all problems alike and say nothing of how far
apart the values are; the medians do. The bootstrap resamples seeds and keeps the problems: its intervals speak
of other seeds on these problems, not of other problems.

- The problems are ours. They were written down before any method was run on them, but whoever writes both a
  tuner and its problems has habits. Two are classics (Hartmann's and Rosenbrock's functions), `svhn`
  interpolates real trainings, the others are made-up formulas.
- They were not unseen: docs/proposer.md says what was looked at before the proposer was finished, and that its
  surrogate of failures was worked on because of `memory`.
- Durations are simulated; only their order matters here. What a method needs to think does not delay its
  trials, so that slow methods are not punished in the ranks; the ask times stand apart.
- BoTorch is a library and not a tuner: what it does with a failure is our choice (the failed point counts as
  pending).
- Five seeds give wide intervals, and a percentile bootstrap over so few is on the narrow side. The musts take
  each interval by itself; nothing is corrected for making several comparisons.
- Every method runs at its defaults or as its documentation advises. A better setting may exist for any of them.
- The ranks of a method depend on which others take part: numbers of the two comparisons do not compare."""

_AGAIN = """\
The peers live in an environment of their own, since torch and cnnbo's own extra want different packages:

```
python -m venv peers
peers/bin/pip install -r benchmarks/requirements-peers.txt -e .
peers/bin/python benchmarks/proposer.py run --methods random,tpe,gpsampler
peers/bin/python benchmarks/proposer.py run --methods qlognei --seeds 5
.venv/bin/python benchmarks/proposer.py run --methods cnnbo
for p in 1 8; do
  few="--parallel $p --seeds 5 --problems hartmann6,network,plateau"
  peers/bin/python benchmarks/proposer.py run --methods random,gpsampler $few
  .venv/bin/python benchmarks/proposer.py run --methods cnnbo $few
done
# ask times, with nothing else running
timed="--seeds 1 --idle --problems network,svhn"
peers/bin/python benchmarks/proposer.py run --methods random,tpe,gpsampler,qlognei $timed
.venv/bin/python benchmarks/proposer.py run --methods cnnbo $timed
.venv/bin/python benchmarks/proposer.py asks
# narrow problems and trained ones; TPE and GPSampler need TensorFlow for `street` and `drawn`
for p in narrow live; do
  peers/bin/python benchmarks/proposer.py run --methods random,tpe,gpsampler --problems $p --seeds 20
  .venv/bin/python benchmarks/proposer.py run --methods cnnbo,constant --problems $p --seeds 20
done
peers/bin/python benchmarks/proposer.py report
```

`.venv` is made by `make .venv`. Runs that have a row are not run again: delete `benchmarks/rows/` to begin
anew, or give `--out` and `--rows` another folder. The rows in `benchmarks/rows/idle/` are runs made one at a
time on an otherwise idle machine; only ask times are taken from them."""
