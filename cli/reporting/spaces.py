"""Where in the search space trials went and what they came to: parallel coordinates and slices. Imports Matplotlib."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnbo.cli.output import scalar
from cnnbo.cli.reporting import captions, style
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Drawing
from cnnbo.scheduler.comparison import objective
from cnnbo.scheduler.space import FloatParameter, Parameter, Scalar, SearchSpace
from cnnbo.scheduler.spec import Direction
from cnnbo.scheduler.trial import Trial

_BEST_SHARE: Final = 0.1
_LEAST_BEST: Final = 3
_STRIP: Final = 0.16
"""Share of a slice's height below the lowest value, where failures have their ticks."""

_MARKERS: Final = ("o", "D", "^", "s", "v", "P")
_ROW: Final = 52.0
_PANEL: Final = 165.0
_LONGEST: Final = 12
_LONGEST_NAME: Final = 22
_FEW: Final = 5
_MOST_BEST: Final = 20


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that are drawn alike, those of a method or of a study.

    Attributes:
        name: what they are called.
        trials: ended ones; those without a value have failed, and some of the others may be at chance.
    """

    name: str
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Trials:
    """All the trials that a drawing is made of.

    Attributes:
        space: which their points belong to.
        metric: what their values are.
        direction: which way it gets better.
        groups: at least one.
    """

    space: SearchSpace
    metric: str
    direction: Direction
    groups: tuple[Group, ...]

    @property
    def complete(self) -> list[Trial]:
        """Those with a value, the best first; those at chance only where there is nothing else."""
        known = [trial for group in self.groups for trial in group.trials if trial.value is not None]
        learnt = [trial for trial in known if not trial.at_chance]
        return sorted(learnt or known, key=lambda trial: objective(trial, self.direction))

    @property
    def lucky(self) -> list[Trial]:
        """Those at chance that are left out of `complete`."""
        shown = {id(trial) for trial in self.complete}
        return [trial for group in self.groups for trial in group.trials if trial.at_chance and id(trial) not in shown]

    @property
    def sizes(self) -> str:
        """How many each group has, for captions."""
        return ", ".join(f"{len(group.trials)} of {group.name}" for group in self.groups)


def ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Places in 0..1 on a parameter's own scale with the values there, as people write them: five or so.

    >>> ticks(FloatParameter("momentum", 0.5, 0.999, "reverse-log"))
    [(0.0, '0.5'), (0.2589765737, '0.9'), (0.6294882869, '0.99'), (1.0, '0.999')]
    """
    if isinstance(parameter, FloatParameter):
        values: list[Scalar] = [*_round_values(parameter)]
    elif parameter.cardinality is not None and parameter.cardinality <= _FEW:
        values = [parameter.decode((k + 0.5) / parameter.cardinality) for k in range(parameter.cardinality)]
    else:
        first, last = (parameter.encode(parameter.decode(end)) for end in (0.0, 1.0))
        values = list(dict.fromkeys(parameter.decode(first + share / 4 * (last - first)) for share in range(5)))
    texts = [_short(scalar(value)) for value in values]
    return [(round(parameter.encode(value), 10), text) for value, text in zip(values, texts, strict=True)]


def _round_values(parameter: FloatParameter) -> list[float]:
    if parameter.scale == "log":
        decades = range(math.ceil(math.log10(parameter.low) - 1e-9), math.floor(math.log10(parameter.high) + 1e-9) + 1)
        values = [10.0**k for k in decades]
    elif parameter.scale == "reverse-log":
        low, high = -math.log10(1 - parameter.low), -math.log10(1 - parameter.high)
        values = [parameter.low, *(1 - 10.0**-k for k in range(math.floor(low) + 1, math.floor(high + 1e-9) + 1))]
    else:
        values = []
    if len(values) < 3:
        return [parameter.decode(share / 4) for share in range(5)]
    return values[:: -(-len(values) // _FEW)]


def _short(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def parallel_coordinates(trials: Trials, context: Context) -> Drawing | None:
    """A line for each complete trial through its values of all parameters; None where no trial is complete.

    Parameters stand below each other, so that their names have room however many there are.
    """
    complete = trials.complete
    if not complete:
        return None
    best = complete[: min(_MOST_BEST, max(_LEAST_BEST, math.ceil(_BEST_SHARE * len(complete))))]
    rows = [*trials.space.parameters, None]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        heights = np.arange(len(rows), 0.0, -1.0)
        places = _value_places(complete)
        owner = {id(trial): index for index, group in enumerate(trials.groups) for trial in group.trials}
        for trial in reversed(complete):
            is_best = trial in best
            index = owner[id(trial)]
            axes.plot(
                [*trial.point, places[id(trial)]],
                heights,
                color=style.line_colour(index).light if is_best else style.MUTED.light,
                linestyle=style.dashes(index) if is_best else "-",
                linewidth=1.6 if is_best else 0.6,
                alpha=0.9 if is_best else 0.3,
            )
        for height, parameter in zip(heights, rows, strict=True):
            marks = _value_ticks(complete) if parameter is None else ticks(parameter)
            _paint_row(axes, height, trials.metric if parameter is None else parameter.name, marks)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(0.5, len(rows) + 0.15)
        axes.set_axis_off()
        _legend_of_groups(figure, trials)

    return style.draw(
        "parallel-coordinates",
        "Parallel coordinates",
        f"A line for each trial with a value (n = {len(complete)}; ended: {trials.sizes}{_left_out(trials)}) through "
        f"its values of all parameters, each on its own scale; coloured are the best {len(best)}. The lowest row is "
        f"the {trials.metric}. "
        f"{captions.where(context)}",
        f"Values of all parameters in the best {captions.counted(len(best), 'trial')}: {_ranges(trials.space, best)}.",
        _ROW * len(rows) + 30,
        paint,
    )


def _left_out(trials: Trials) -> str:
    return f"; {len(trials.lucky)} at chance are left out" if trials.lucky else ""


def _value_places(complete: Sequence[Trial]) -> dict[int, float]:
    values = np.array([trial.value for trial in complete], dtype=np.float64)
    span = float(np.ptp(values))
    shares = (values - values.min()) / span if span > 0 else np.full(len(values), 0.5)
    return {id(trial): float(share) for trial, share in zip(complete, shares, strict=True)}


def _value_ticks(complete: Sequence[Trial]) -> list[tuple[float, str]]:
    values = [trial.value for trial in complete if trial.value is not None]
    low, high = min(values), max(values)
    return [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")]


def _paint_row(axes: Axes, height: float, name: str, marks: Sequence[tuple[float, str]]) -> None:
    axes.plot((0, 1), (height, height), color=style.INK.light, linewidth=1.0, zorder=3)
    axes.text(
        -0.04, height, _short(name.replace("_", " "), _LONGEST_NAME), fontsize=style.SMALL, ha="right", va="center"
    )
    for place, text in marks:
        axes.plot((place, place), (height - 0.05, height + 0.05), color=style.INK.light, linewidth=1.0, zorder=3)
        side = "left" if place < 0.02 else "right" if place > 0.98 else "center"
        axes.text(
            place, height - 0.13, text, fontsize=11.0, ha=side, va="top", zorder=4,
            bbox={"facecolor": style.PAPER.light, "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip


def _legend_of_groups(figure: Figure, trials: Trials) -> None:
    if len(trials.groups) < 2:
        return
    axes = figure.axes[0]
    for index, group in enumerate(trials.groups):
        axes.plot([], [], color=style.line_colour(index).light, linestyle=style.dashes(index), label=group.name)
    figure.legend(loc="outside upper left", ncols=3, handlelength=2.6)


def _ranges(space: SearchSpace, best: Sequence[Trial]) -> str:
    told = []
    for index, parameter in enumerate(space.parameters):
        ordered = sorted(best, key=lambda trial: trial.point[index])
        low, high = (scalar(trial.configuration[parameter.name]) for trial in (ordered[0], ordered[-1]))
        told.append(f"{parameter.name} {low}" + ("" if low == high else f" to {high}"))
    return ", ".join(told)


def slices(trials: Trials, context: Context) -> Drawing | None:
    """The value of each trial against each parameter, None where nothing has ended.

    At the bottom are failures, as ticks, and trials at chance, as dots, as soon as another one has a value.
    """
    if not any(group.trials for group in trials.groups):
        return None
    parameters = trials.space.parameters
    columns = min(2, len(parameters))
    lines = -(-len(parameters) // columns)
    complete = trials.complete

    def paint(figure: Figure) -> None:
        grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(parameters):
                axes.set_axis_off()
                continue
            _paint_slice(axes, trials, index)
        if complete:
            style.fit(grid[0, 0], (t.value for t in complete if t.value is not None), margin=_STRIP)
        else:
            grid[0, 0].set_yticks([])
        if len(trials.groups) > 1:
            figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, markerscale=2.0)

    failed = sum(trial.failure is not None for group in trials.groups for trial in group.trials)
    best = f"the best at {_ranges(trials.space, complete[:1])}" if complete else "none has a value"
    return style.draw(
        "slices",
        f"The {trials.metric.replace('_', ' ')} against each parameter",
        f"A point for each trial with a value (n = {len(complete)}; ended: {trials.sizes}), every parameter on its own "
        f"scale; ticks at the bottom: {failed} failed ones{_dots(trials)}. {captions.where(context)}",
        f"Value of {captions.counted(len(complete), 'trial')} against each parameter; {best}.",
        _PANEL * lines + (26 if len(trials.groups) > 1 else 0),
        paint,
    )


def _dots(trials: Trials) -> str:
    return f"; dots there: {len(trials.lucky)} at chance" if trials.lucky else ""


def _paint_slice(axes: Axes, trials: Trials, index: int) -> None:
    parameter = trials.space.parameters[index]
    lucky = {id(trial) for trial in trials.lucky}
    for number, group in enumerate(trials.groups):
        colour = style.line_colour(number).light
        known = [(t.point[index], t.value) for t in group.trials if t.value is not None and id(t) not in lucky]
        axes.plot(
            [place for place, _ in known], [value for _, value in known], linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)], markersize=4.0, alpha=0.75, markeredgewidth=0, color=colour,
            label=group.name,
        )  # fmt: skip
        failed = [trial.point[index] for trial in group.trials if trial.failure is not None]
        at_chance = [trial.point[index] for trial in group.trials if id(trial) in lucky]
        for places, mark, size in ((failed, "|", 6), (at_chance, ".", 3)):
            axes.plot(
                places, [0.03 + 0.06 * number] * len(places), mark, color=colour, markersize=size, markeredgewidth=1.3,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    marks = ticks(parameter)
    axes.set_xticks([place for place, _ in marks], [text for _, text in marks])
    axes.set_xlim(-0.04, 1.04)
    style.name_values(axes, _short(parameter.name.replace("_", " "), _LONGEST_NAME))
