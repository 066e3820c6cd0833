"""Best-seen traces: Figure 3 of a comparison, and the one of a single study. Imports Matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnbo.cli.reporting import captions, style
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Drawing
from cnnbo.cli.reporting.traces import Floats, best_seen, counted, quantile, stacked
from cnnbo.scheduler.comparison import Line, Members, lines
from cnnbo.scheduler.spec import Direction, Plan, Stage, to_objective
from cnnbo.scheduler.study import Study

_HEIGHT = 360.0
_HEIGHT_OF_TWO = 560.0
_FAR = 1.5
"""If baselines stretch the axis by more than this factor, the runs are drawn once more without them."""

_FOREMOST = 3


@dataclass(frozen=True, slots=True)
class Baseline:
    """A value without tuning, drawn as a horizontal line.

    Attributes:
        name: what was trained.
        value: mean of its repeated trainings.
    """

    name: str
    value: float


def baselines(members: Members) -> tuple[Baseline, ...]:
    """Mean validation values of what was not tuned, as far as they are there."""
    named = ((Stage.UNTUNED, "untuned network"), (Stage.FOREST, "random forest"))
    found = []
    for stage, name in named:
        study = members.others.get(stage)
        values = [t.value for t in study.trials if t.value is not None] if study is not None else []
        if values:
            found.append(Baseline(name, float(np.mean(values))))
    return tuple(found)


def line_traces(members: Members, line: Line) -> Floats:
    """Best-seen objectives of a line's runs, shape (R, N); see `stacked`."""
    return stacked([best_seen(study, line.evaluations) for study in members.runs(line.method)])


def figure_3(members: Members, plan: Plan, context: Context) -> Drawing | None:
    """Median best-seen value of each line with quartiles, all runs, and the baselines; None before any success."""
    direction, metric = members.studies[0].spec.direction, members.studies[0].spec.metric
    drawn = _without_doubles(plan)
    tables = [(line, line_traces(members, line)) for line in drawn]
    if not any(np.isfinite(table).any() for _, table in tables):
        return None
    levels = baselines(members)

    values = [_values(table, direction) for _, table in tables]
    shown = _panels(values, levels)
    name = metric.replace("_", " ")

    def paint(figure: Figure) -> None:
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, kept in zip(panels, shown, strict=True):
            _paint_lines(axes, tables, direction)
            _paint_levels(axes, levels)
            style.fit(axes, kept)
            style.name_values(axes, name if axes is panels[0] else f"{name}, enlarged")
            if any(line.is_twice for line in drawn):
                axes.axvline(plan.evaluations, color=style.MUTED.light, linewidth=1.0, linestyle=(0, (2.0, 2.0)))
        panels[-1].set_xlim(1, max(2, *(table.shape[1] for table in values)))
        style.whole_numbers(panels[-1])
        panels[-1].set_xlabel("evaluations, failed ones too")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=3, handlelength=2.6)

    return style.draw(
        "figure-3-best-seen",
        "Figure 3: the best seen so far",
        _caption(members, plan, context, levels, len(shown) > 1),
        _alt(tables, levels, direction, metric),
        _HEIGHT if len(shown) == 1 else _HEIGHT_OF_TWO,
        paint,
    )


def _panels(values: Sequence[Floats], levels: Sequence[Baseline]) -> list[list[float]]:
    """The values that each panel has room for: all, and those of the runs alone where baselines lie far from them."""
    later = [table[:, _cut(table.shape[1]) :] for table in values]
    runs = [float(value) for table in later for value in table[np.isfinite(table)]]
    every = [*runs, *(level.value for level in levels)]
    is_far = bool(runs) and np.ptp(every) > _FAR * np.ptp(runs)
    return [every, runs] if is_far else [every]


def _cut(evaluations: int) -> int:
    """How many evaluations at the front the vertical axis need not have room for: the first finds are often poor."""
    return evaluations // 10


def _paint_lines(axes: Axes, tables: Sequence[tuple[Line, Floats]], direction: Direction) -> None:
    """All runs below all medians, the first method on top."""
    for index, (_, table) in reversed(list(enumerate(tables))):
        _paint_runs(axes, _values(table, direction), style.line_colour(index))
    for index, (line, table) in reversed(list(enumerate(tables))):
        _paint_median(axes, table, direction, index, line.method)


def _without_doubles(plan: Plan) -> list[Line]:
    """The lines to be drawn: random search with twice the trials is the same line, gone on with."""
    every = lines(plan)
    doubled = {line.method for line in every if line.is_twice}
    return [
        next(other for other in every if other.method == line.method and other.is_twice)
        if line.method in doubled
        else line
        for line in every
        if not line.is_twice
    ]


def _values(table: Floats, direction: Direction) -> Floats:
    """Objectives as values of the metric; NaN before the first success, where nothing is drawn."""
    known = np.where(np.isfinite(table), table, np.nan)
    return -known if direction is Direction.MAXIMIZE else known


def _paint_runs(axes: Axes, values: Floats, colour: style.Colour) -> None:
    for run in values:
        at = np.arange(1, len(run) + 1)
        axes.step(at, run, where="post", color=colour.light, linewidth=0.8, alpha=0.45)


def _paint_median(axes: Axes, table: Floats, direction: Direction, index: int, label: str) -> None:
    at = np.arange(1, table.shape[1] + 1)
    low, middle, high = (_values(quantile(table, share)[np.newaxis], direction)[0] for share in (0.25, 0.5, 0.75))
    colour = style.line_colour(index).light
    is_known = np.isfinite(low) & np.isfinite(high)
    if len(table) > 1:
        axes.fill_between(at, low, high, where=is_known, step="post", color=colour, alpha=0.16, linewidth=0)
    axes.step(
        at, middle, where="post", color=colour, linewidth=2.4, linestyle=style.dashes(index), label=label,
        zorder=_FOREMOST,
    )  # fmt: skip


def _paint_levels(axes: Axes, levels: Sequence[Baseline]) -> None:
    for level in levels:
        axes.axhline(level.value, color=style.INK.light, linewidth=1.2, linestyle=(0, (6.0, 2.0, 1.5, 2.0)))
        axes.annotate(
            f"{level.name} {captions.plain(level.value)}",
            (1.0, level.value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=style.SMALL,
            annotation_clip=True,
            bbox={"facecolor": style.PAPER.light, "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
            zorder=_FOREMOST + 1,
        )


def _caption(members: Members, plan: Plan, context: Context, levels: Sequence[Baseline], is_enlarged: bool) -> str:
    runs = ", ".join(f"{captions.counted(len(members.runs(method)), 'run')} of {method}" for method in plan.methods)
    twice = (
        f" Random search goes on to twice the {plan.evaluations} evaluations that each method has (dotted upright)."
        if any(line.is_twice for line in lines(plan))
        else ""
    )
    enlarged = " The lower panel shows the same without room for the baselines." if is_enlarged else ""
    level = (
        f" Horizontal lines: means of {plan.runs} trainings without tuning, on the same validation images."
        if levels
        else ""
    )
    return (
        f"Best {members.studies[0].spec.metric} on validation images after each evaluation, in the order of proposal: "
        f"median over runs (thick), quartiles by nearest rank (band), every run (thin); n = {runs}. A failed "
        "evaluation counts, and before a first value nothing is drawn; one at chance is drawn as long as there is no "
        "other. What was seen in the first tenth "
        f"of the evaluations may lie beyond the axis.{twice}{level}{enlarged} {captions.where(context)}"
    )


def _alt(tables: Sequence[tuple[Line, Floats]], levels: Sequence[Baseline], direction: Direction, metric: str) -> str:
    ends = []
    for line, table in tables:
        last = quantile(table[:, -1:], 0.5)
        if np.isfinite(last).any():
            value = captions.plain(to_objective(float(last[0]), direction))
            ends.append(f"{line.method} {value} after {table.shape[1]} evaluations")
    flat = [f"{level.name} {captions.plain(level.value)}" for level in levels]
    return f"Median best-seen {metric} over evaluations: {'; '.join(ends + flat)}."


def study_trace(study: Study, context: Context) -> Drawing | None:
    """The best-seen value of a single study with the value of each trial; None before any value.

    Trials at chance lie at the bottom with the failures, as soon as another one has a value.
    """
    trace = best_seen(study)
    if not np.isfinite(trace).any():
        return None
    direction, metric = study.spec.direction, study.spec.metric
    trials = counted(study)
    best = study.incumbent
    assert best is not None
    is_lucky = np.array([t.at_chance and not best.at_chance for t in trials])
    failed = np.array([t.value is None for t in trials])
    values = np.array([np.nan if t.value is None else t.value for t in trials], dtype=np.float64)
    values[is_lucky] = np.nan

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        at = np.arange(1, len(trace) + 1)
        axes.plot(at, values, "o", color=style.LINES[5].light, markersize=4.5, label="a trial")
        axes.step(
            at, _values(trace[np.newaxis], direction)[0], where="post", color=style.LINES[0].light,
            linewidth=2.4, label="best so far",
        )  # fmt: skip
        style.fit(axes, values[np.isfinite(values)])
        below = ((failed, 0.015, "|", 9.0, "failed"), (is_lucky, 0.015, ".", 5.0, "at chance"))
        for some, height, mark, size, label in below:
            if some.any():
                axes.plot(
                    at[some], np.full(some.sum(), height), mark, color=style.INK.light, markersize=size,
                    markeredgewidth=1.6, transform=axes.get_xaxis_transform(), label=label,
                )  # fmt: skip
        axes.set_xlim(0.5, max(2, len(trace)) + 0.5)  # a single whole number is no axis
        style.whole_numbers(axes)
        axes.set_xlabel("evaluations, failed ones too")
        style.name_values(axes, metric.replace("_", " "))
        figure.legend(loc="outside upper left", ncols=3, handlelength=2.0)

    lucky = f", {study.at_chance} are at chance (dots there)" if is_lucky.any() else ""
    lucky = ", all values are at chance" if best.at_chance else lucky
    return style.draw(
        "best-seen",
        "The best seen so far",
        f"Value of each of {captions.counted(len(trials), 'evaluation')} in the order of proposal, and the best so "
        f"far; {int(failed.sum())} failed (ticks at the bottom){lucky}. {captions.where(context)}",
        f"The best {metric} of {len(trials)} evaluations is {captions.plain(best.value)}, of trial {best.id}.",
        320.0,
        paint,
    )
