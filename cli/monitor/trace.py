"""The best-seen trace of a study, drawn with characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PlotGlyphs:
    """The characters of a plot: a line and its corners, points, axes."""

    level: str
    rise: str
    up: tuple[str, str]  # where the line leaves its row upwards, and where it arrives
    down: tuple[str, str]
    point: str
    failure: str
    chance: str
    worse: tuple[str, str]  # a trial that lies below the rows, or above them
    axis: tuple[str, str, str, str]  # beside a row, the corner, the floor, a tick on the floor


UNICODE_PLOT = PlotGlyphs("─", "│", ("╯", "╭"), ("╮", "╰"), "·", "x", "o", ("v", "^"), ("┤", "└", "─", "┬"))
ASCII_PLOT = PlotGlyphs("-", "|", ("+", "+"), ("+", "+"), ".", "x", "o", ("v", "^"), ("|", "+", "-", "+"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one trial: its id, counting from 1; its value, None if it failed; whether that is at chance."""

    trial: int
    value: float | None
    at_chance: bool = False


def draw_trace(
    outcomes: Sequence[Outcome],
    *,
    evaluations: int,
    maximize: bool,
    width: int,
    height: int,
    glyphs: PlotGlyphs = UNICODE_PLOT,
) -> list[str]:
    """Draw the best value seen so far over the number of the trial, every trial a point, failures on the floor.

    The rows span what the best-seen line spans and the better half of the values, so that there is something to see
    while the first trial is the best; what is worse would only flatten it, and is marked at the edge (`v` or `^`). So
    is what is at chance (`o`), as soon as something else has a value; before, it is drawn like any other.

    Args:
        outcomes: finished trials by rising id.
        evaluations: right end of the axis.
        maximize: whether a higher value is better.
        width: columns in all, >= 30.
        height: rows of the plot, >= 2; two more are used for the axis.
        glyphs: what to draw with.

    Returns:
        `height + 2` lines of at most `width` columns; none as long as no trial has a value.
    """
    if all(outcome.at_chance for outcome in outcomes if outcome.value is not None):
        outcomes = [replace(outcome, at_chance=False) for outcome in outcomes]
    best = _best_seen(outcomes, maximize)
    if not best:
        return []
    values = [value for _, value in best] + _better_half(outcomes, maximize)
    labels = _labels(min(values), max(values), height)
    margin = max(map(len, labels)) + 3  # a space on each side, and the axis
    canvas = _Canvas(width - margin, height, max(evaluations, outcomes[-1].trial), min(values), max(values), glyphs)
    canvas.points(outcomes, maximize)
    canvas.line(best, last=outcomes[-1].trial)
    rows = [f" {label:>{margin - 3}} {glyphs.axis[0]}{row}" for label, row in zip(labels, canvas.rows(), strict=True)]
    return [row.rstrip() for row in rows] + canvas.floor(margin)


def _best_seen(outcomes: Sequence[Outcome], maximize: bool) -> list[tuple[int, float]]:
    """The trials that were better than all before them, with their values."""
    steps: list[tuple[int, float]] = []
    for outcome in outcomes:
        value = None if outcome.at_chance else outcome.value
        if value is not None and (not steps or (value > steps[-1][1] if maximize else value < steps[-1][1])):
            steps.append((outcome.trial, value))
    return steps


def _better_half(outcomes: Sequence[Outcome], maximize: bool) -> list[float]:
    """The values from the best one to the median."""
    known = (outcome for outcome in outcomes if not outcome.at_chance)
    values = sorted((outcome.value for outcome in known if outcome.value is not None), reverse=maximize)
    return values[: len(values) // 2 + 1]


def _labels(low: float, high: float, height: int) -> list[str]:
    """The value of each row, highest first, with as many digits as tell neighbours apart."""
    if low == high:
        return [f"{low:.6g}" if row == height // 2 else "" for row in range(height)]
    step = high / (height - 1) - low / (height - 1)
    decimals = min(8, max(0, 1 - math.floor(math.log10(step))))
    if max(abs(low), abs(high)) >= 1e6 or decimals == 8:
        return [f"{high - step * row:.2e}" for row in range(height)]
    return [f"{high - step * row:.{decimals}f}" for row in range(height)]


class _Canvas:
    """A grid of characters with a column for every few trials and a row for every few values."""

    def __init__(self, width: int, height: int, last: int, low: float, high: float, glyphs: PlotGlyphs) -> None:
        self._cells = [[" "] * width for _ in range(height)]
        self._width, self._height, self._last = width, height, last
        self._low, self._high = low, high
        self._glyphs = glyphs

    def rows(self) -> list[str]:
        return ["".join(row) for row in self._cells]

    def _column(self, trial: int) -> int:
        return round((trial - 1) / max(1, self._last - 1) * (self._width - 1))

    def _row(self, value: float) -> int:
        """Row of a value, 0 at the top; outside of the range beyond the rows."""
        if self._high == self._low:
            return self._height // 2 + self._height * ((value < self._low) - (value > self._high))
        # Halved, for the distance of two floats may be more than a float holds.
        share = (self._high / 2 - value / 2) / (self._high / 2 - self._low / 2)
        return round(min(2.0, max(-1.0, share)) * (self._height - 1))

    def points(self, outcomes: Sequence[Outcome], maximize: bool) -> None:
        for outcome in outcomes:
            edge = self._height - 1 if maximize else 0
            row, mark = self._height - 1, self._glyphs.failure
            if outcome.at_chance:
                row, mark = edge, self._glyphs.chance
            elif outcome.value is not None:
                row, mark = self._row(outcome.value), self._glyphs.point
            if not 0 <= row < self._height:
                row, mark = edge, self._glyphs.worse[0 if maximize else 1]
            self._cells[row][self._column(outcome.trial)] = mark

    def line(self, best: Sequence[tuple[int, float]], last: int) -> None:
        ends = [*(self._column(trial) for trial, _ in best[1:]), self._column(last) + 1]
        row = self._row(best[0][1])
        for (trial, value), end in zip(best, ends, strict=True):
            column = self._column(trial)
            self._step(column, row, self._row(value))
            row = self._row(value)
            for between in range(column + (trial != best[0][0]), end):
                self._cells[row][between] = self._glyphs.level

    def _step(self, column: int, before: int, after: int) -> None:
        """Turn from one row to another within a column."""
        if before == after:
            self._cells[after][column] = self._glyphs.level
            return
        leave, arrive = self._glyphs.up if after < before else self._glyphs.down
        for row in range(min(before, after) + 1, max(before, after)):
            self._cells[row][column] = self._glyphs.rise
        self._cells[before][column], self._cells[after][column] = leave, arrive

    def floor(self, margin: int) -> list[str]:
        """The axis below the rows, and the numbers of trials below that."""
        _, corner, line, tick = self._glyphs.axis
        axis, numbers = [line] * self._width, [" "] * (margin + self._width + 8)
        for trial in _ticks(self._last, self._width):
            column = self._column(trial)
            axis[column] = tick
            start = margin + column - len(str(trial)) // 2
            if start + len(str(trial)) > margin + self._width:
                start = margin + self._width - len(str(trial))
            numbers[start : start + len(str(trial))] = str(trial)
        return [" " * (margin - 1) + corner + "".join(axis), "".join(numbers).rstrip()]


def _ticks(last: int, width: int) -> list[int]:
    """1 and round numbers up to `last`, at least eight columns apart."""
    least = max(1.0, 8 * last / width)
    scale = 10 ** math.floor(math.log10(least))
    step = next(int(factor * scale) for factor in (1, 2, 5, 10) if factor * scale >= least)
    return [1, *(trial for trial in range(step, last + 1, step) if trial - 1 >= least)]
