"""The figures: best values, mean ranks, ask times. The same rows give the same SVG, byte by byte."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from proposing.labels import label
from proposing.statistics import MAIN_PARALLEL, Comparison, Floats, Results, Runs

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType  # older releases have no such name, and take any

matplotlib.use("Agg")  # no display is needed


@dataclass(frozen=True)
class _Look:
    colour: str
    dashes: str | tuple[int, tuple[float, ...]] = "-"
    width: float = 1.6


# Okabe and Ito's colours, which colour-blind readers tell apart; dashes help where lines cross or ink is black.
_LOOKS = {
    "cnnbo": _Look("#D55E00", "-", 3.0),
    "constant": _Look("#E69F00", (0, (3.0, 1.2))),
    "random": _Look("#7A7A7A", (0, (1.0, 1.2))),
    "tpe": _Look("#0072B2", (0, (5.0, 1.6))),
    "gpsampler": _Look("#009E73"),
    "qlognei": _Look("#AA4499", (0, (7.0, 1.6, 1.4, 1.6))),
}
_OTHER = _Look("#000000")

_STYLE: "dict[RcKeyType, Any]" = {
    "svg.hashsalt": "cnnbo",  # ids in the SVG do not change from run to run
    "figure.facecolor": "white",
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}

_FIRST_RANK = 5
"""Ranks after fewer evaluations say nothing: all methods are in their designs."""

_WIDE = 1.5
"""Decades from which on an axis is logarithmic."""

_DESIGN = 9
"""Every method starts with so many evaluations without a model, or nearly so many."""

_MARGIN = 0.06
"""Share of an axis left free above and below the lines."""


def draw(results: Results, folder: Path) -> list[Path]:
    """Write each figure that there are rows for, as SVG and PNG; the paths of the SVGs."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(_STYLE):
        if results.runs.problems(MAIN_PARALLEL):
            written.append(_save(_best_values(results.runs), folder / "best_value.svg"))
        written += [
            _save(_best_values(group.runs), folder / f"{group.stem}.svg")
            for group in results.others
            if group.runs.problems(MAIN_PARALLEL)
        ]
        if comparisons := [c for c in (results.common, results.every) if c is not None]:
            written.append(_save(_mean_ranks(comparisons), folder / "mean_rank.svg"))
        if results.idle.methods(MAIN_PARALLEL):
            written.append(_save(_ask_seconds(results.idle), folder / "ask_seconds.svg"))
    return written


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


# -- best values ------------------------------------------------------------------------------------------------------


def _best_values(runs: Runs) -> Figure:
    problems = runs.problems(MAIN_PARALLEL)
    columns = min(4, len(problems))
    lines = -(-len(problems) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(12.8, 0.9 + 3.1 * lines), squeeze=False, layout="constrained")
    for axis, problem in zip(axes.flat, problems, strict=False):
        _best_value_panel(axis, runs, problem)
    for axis in list(axes.flat)[len(problems) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("evaluations")
    for axis in axes[:, 0]:
        axis.set_ylabel("best value, noise-free")
    _legend(figure, runs.methods(MAIN_PARALLEL))
    return figure


def _legend(figure: Figure, methods: list[str]) -> None:
    """One legend for all panels, in the order of the tables."""
    handles = {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}
    labels = [label(method) for method in methods if label(method) in handles]
    figure.legend([handles[text] for text in labels], labels, loc="outside upper center", ncols=5, fontsize=12)


def _best_value_panel(axis: Axes, runs: Runs, problem: str) -> None:
    shown = []
    for method in _back_to_front(runs.methods(MAIN_PARALLEL)):
        curves = runs.curves(method, MAIN_PARALLEL, problem)
        if len(curves):
            shown.append(_median_with_quartiles(axis, method, curves))
    axis.set_title(problem)
    axis.set_xlim(0, shown[0].shape[1])  # a panel's problem has rows
    _scale(axis, np.concatenate(shown))


def _median_with_quartiles(axis: Axes, method: str, curves: Floats) -> Floats:
    """Draw curves (S, N); their lower quartile and median (2, N). Empty where half the runs have no success yet."""
    # Nearest ranks instead of interpolation: between a number and inf there is nothing to interpolate.
    low, high = np.quantile(curves, [0.25, 0.75], axis=0, method="nearest")
    middle = np.median(curves, axis=0)
    at = np.arange(1, curves.shape[1] + 1)
    _line(axis, method, at, np.where(np.isfinite(middle), middle, np.nan))
    _band(axis, method, at, low, high)
    return np.stack([low, middle])


def _scale(axis: Axes, lines: Floats) -> None:
    """A logarithmic axis where all of the lines (L, N) is positive and spans decades.

    It is cut to what comes after the designs, which start so high that nothing else could be told apart.
    """
    every, later = lines[np.isfinite(lines)], lines[:, _DESIGN:][np.isfinite(lines[:, _DESIGN:])]
    if not len(later):
        return
    low, high = float(later.min()), float(later.max())
    if every.min() > 0 and np.log10(every.max() / every.min()) > _WIDE:
        axis.set_yscale("log")
        axis.set_ylim(low / (high / low) ** _MARGIN, high * (high / low) ** _MARGIN)
    elif high > low:
        axis.set_ylim(low - _MARGIN * (high - low), high + _MARGIN * (high - low))


# -- mean ranks -------------------------------------------------------------------------------------------------------


def _mean_ranks(comparisons: list[Comparison]) -> Figure:
    figure, axes = plt.subplots(1, len(comparisons), figsize=(12.8, 5.2), squeeze=False, layout="constrained")
    for axis, comparison in zip(axes.flat, comparisons, strict=True):
        for method in _back_to_front(comparison.methods):
            value, low, high = comparison.mean_ranks(method)[:, _FIRST_RANK - 1 :]
            at = np.arange(_FIRST_RANK, _FIRST_RANK + len(value))
            _line(axis, method, at, value)
            _band(axis, method, at, low, high)
        axis.set_title(f"{len(comparison.methods)} methods, {len(comparison.seeds)} seeds")
        axis.set_xlabel("evaluations")
        axis.set_ylabel("mean rank (1 is the best)")
        axis.set_xlim(_FIRST_RANK, comparison.ranks.shape[-1])
        axis.invert_yaxis()  # the best at the top
        _label_ends(axis)
    return figure


# -- ask times --------------------------------------------------------------------------------------------------------


def _ask_seconds(idle: Runs) -> Figure:
    figure, axis = plt.subplots(figsize=(12.8, 5.2), layout="constrained")
    for method in _back_to_front(idle.methods(MAIN_PARALLEL)):
        rows = idle.rows(method, MAIN_PARALLEL)
        asks = min(len(row.ask_s) for row in rows)
        # Rows are rounded to 0.1 ms, and a logarithmic axis has no zero.
        seconds = np.maximum(np.array([row.ask_s[:asks] for row in rows]), 1e-4)
        low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75], axis=0)
        _line(axis, method, np.arange(asks), middle)
        _band(axis, method, np.arange(asks), low, high)
    axis.set_yscale("log")
    axis.set_xlim(left=0)
    axis.set_xlabel(f"number of the ask, {MAIN_PARALLEL} devices")
    axis.set_ylabel("seconds")
    _label_ends(axis)
    return figure


# -- what they share --------------------------------------------------------------------------------------------------


def _back_to_front(methods: Iterable[str]) -> list[str]:
    """Methods in the order of drawing: cnnbo last, on top of the others."""
    return sorted(methods, key=lambda method: method == "cnnbo")


def _line(axis: Axes, method: str, at: NDArray[np.int_], values: Floats) -> None:
    look = _LOOKS.get(method, _OTHER)
    axis.plot(at, values, color=look.colour, linestyle=look.dashes, linewidth=look.width, label=label(method))


def _band(axis: Axes, method: str, at: NDArray[np.int_], low: Floats, high: Floats) -> None:
    """Shade what lies between two lines, as far as both are finite."""
    is_known = np.isfinite(low) & np.isfinite(high)
    axis.fill_between(at, low, high, where=is_known, color=_LOOKS.get(method, _OTHER).colour, alpha=0.13, linewidth=0)


def _label_ends(axis: Axes) -> None:
    """Write each line's name at its right end, moved apart where two would touch."""
    lines = sorted(axis.get_lines(), key=lambda line: _height(axis, line))
    heights = _spread([_height(axis, line) for line in lines], gap=0.055)
    for line, height in zip(lines, heights, strict=True):
        axis.annotate(
            str(line.get_label()),
            (1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            fontweight="bold" if line.get_label() == "cnnbo" else "normal",
        )


def _height(axis: Axes, line: Line2D) -> float:
    """Where a line ends on the axis, 0 at the bottom, 1 at the top."""
    y = float(np.asarray(line.get_ydata())[-1])
    return float(axis.transAxes.inverted().transform(axis.transData.transform((axis.get_xlim()[1], y)))[1])


def _spread(ascending: list[float], gap: float) -> list[float]:
    """Heights pushed apart, both ways alike, until neighbours have the gap; those that had it stay."""
    heights = list(ascending)
    for _ in range(100):  # each pass halves what still overlaps
        for k in range(len(heights) - 1):
            push = max(0.0, gap - (heights[k + 1] - heights[k])) / 2
            heights[k] -= push
            heights[k + 1] += push
    return heights
