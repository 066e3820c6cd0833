"""What every part of the monitor's screen is drawn with: characters, bars, lines that fit, tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final, Literal

from rich.cells import cell_len
from rich.text import Text

from cnnbo.cli.insight import ASCII_MARKS, UNICODE_MARKS, Marks
from cnnbo.cli.monitor.figures import printable
from cnnbo.cli.monitor.trace import ASCII_PLOT, UNICODE_PLOT, PlotGlyphs

LEAST_WIDTH = 60
"""Columns below which lines are cut."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What is drawn with.

    Attributes:
        bar: the parts of a bar from empty to full.
        spark: the heights of a sparkline, lowest first.
        rule, dot, degree, cut, mark: of a line across, between words, of a temperature, where a line was cut, and
            before the row that is marked.
        arrows: the keys that move the mark.
        marks: for what the surrogate believes.
        plot: for the trace.
    """

    bar: str
    spark: str
    rule: str
    dot: str
    degree: str
    cut: str
    mark: str
    arrows: str
    marks: Marks
    plot: PlotGlyphs


UNICODE = Glyphs(" ▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█", "─", "·", "°C", "…", "▸", "↑↓", UNICODE_MARKS, UNICODE_PLOT)
ASCII = Glyphs(".#", "_.-^", "-", "-", " C", "~", ">", "up/down", ASCII_MARKS, ASCII_PLOT)


def glyphs_of(encoding: str, environ: Mapping[str, str]) -> Glyphs:
    """What a terminal shows: `encoding` is what Python writes, in its UTF-8 mode whatever the locale says.

    Example:
        >>> glyphs_of("utf-8", {"LC_ALL": "C", "LANG": "de_DE.UTF-8"}).rule
        '-'
    """
    named = [environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    # Python itself sets LC_CTYPE to this where LANG is C (PEP 538).
    locale = next((name for name in (named[0], named[1].replace("C.UTF-8", ""), named[2]) if name), "utf")
    return UNICODE if "utf" in encoding.lower() and "utf" in locale.lower() else ASCII


@dataclass(frozen=True, slots=True)
class Screen:
    """What a screen is made for.

    Attributes:
        width: columns, >= LEAST_WIDTH.
        height: rows it should fit into; None = as many as it takes.
        now: seconds since the epoch.
        glyphs: `UNICODE` or `ASCII`.
        zone: for times of day; None = the local one.
    """

    width: int
    height: int | None
    now: float
    glyphs: Glyphs = UNICODE
    zone: tzinfo | None = None

    @property
    def is_narrow(self) -> bool:
        """Below 100 columns what matters least goes; rows of devices never do."""
        return self.width < 100

    @property
    def is_low(self) -> bool:
        """With less than 20 rows there are no lines across, and no titles over the devices."""
        return self.height is not None and self.height < 20

    def bar(self, fraction: float, width: int) -> str:
        """A bar of `width` columns, filled from the left."""
        steps = len(self.glyphs.bar) - 1
        filled = round(min(1.0, max(0.0, fraction)) * width * steps)
        full, rest = divmod(filled, steps)
        return (self.glyphs.bar[-1] * full + (self.glyphs.bar[rest] if rest else "")).ljust(width, self.glyphs.bar[0])

    def sparkline(self, values: Sequence[float], width: int) -> str:
        """The course of a figure in at most `width` columns, between its lowest and its highest."""
        if not values:
            return ""
        columns = min(width, len(values))
        # The last value of each column's share, so that the newest one is always there.
        shown = [values[(column + 1) * len(values) // columns - 1] for column in range(columns)]
        low, high = min(shown), max(shown)
        top = len(self.glyphs.spark) - 1
        # Halved, for the distance of two floats may be more than a float holds.
        spread = high / 2 - low / 2
        levels = [round((value / 2 - low / 2) / spread * top) if spread else 0 for value in shown]
        return "".join(self.glyphs.spark[level] for level in levels)

    def rule(self, title: str = "") -> Text:
        """A line across the screen, with a word near its left end."""
        dash = self.glyphs.rule
        line = Text.assemble(dash * 2, (f" {title} ", "not dim bold"), style="dim") if title else Text(style="dim")
        return line.append(dash * (self.width - line.cell_len))

    def rules(self, title: str = "") -> list[Text]:
        """A line across the screen, where there are rows for that."""
        return [] if self.is_low else [self.rule(title)]

    def clock(self, moment: float) -> str:
        """A time of day."""
        return datetime.fromtimestamp(moment, self.zone).strftime("%H:%M:%S")

    def hour(self, moment: float) -> str:
        """A time of day without seconds, with the day of the week where it isn't today."""
        then, today = (datetime.fromtimestamp(at, self.zone) for at in (moment, self.now))
        return then.strftime("%H:%M" if then.date() == today.date() else "%a %H:%M")


def fitted(line: Text, screen: Screen) -> Text:
    """Cut to the screen's width, with everything that could steer a terminal made visible instead."""
    line.plain = printable(line.plain)
    line.rstrip()
    cut(line, screen.width, screen)
    line.no_wrap = True
    return line


def cut(line: Text, room: int, screen: Screen) -> None:
    """Shorten to at most `room` columns, and show that something is missing."""
    if line.cell_len > room:
        line.truncate(max(0, room - 1))
        line.append(screen.glyphs.cut)


def spread(left: Text, right: Text, screen: Screen) -> Text:
    """Left and right on one line, the left one cut where they meet."""
    cut(left, screen.width - right.cell_len - 1, screen)
    return Text.assemble(left, " " * (screen.width - left.cell_len - right.cell_len), right)


def wrapped(words: Iterable[str], indent: int, screen: Screen, separator: str = "  ") -> Iterable[Text]:
    """Words in lines of at most the screen's width, never broken within."""
    line = ""
    for word in words:
        if line and indent + cell_len(line + separator + word) > screen.width:
            yield Text(" " * indent + line)
            line = ""
        line += (separator if line else "") + word
    if line:
        yield Text(" " * indent + line)


RIGHT: Final = "right"
"""The alignment of figures."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: above it.
        align: of titles and cells.
        least: columns it has at least, so that nothing moves when a figure gets another digit.
        rank: 0 = always there; of the others the one of the highest rank goes first where columns are scarce.
        most: columns it counts for at most when that is decided: a long last cell is cut by the screen's edge.
        stays: whether it is there though no row has anything for it.
    """

    title: str
    align: Literal["left", "right"] = "left"
    least: int = 0
    rank: int = 0
    most: int = 1000
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table, marked or not."""

    cells: Sequence[Text]
    is_marked: bool = False


def table(columns: Sequence[Column], rows: Sequence[Row], screen: Screen, has_titles: bool = True) -> list[Text]:
    """Columns as wide as their widest cell, two spaces apart; one in which no row has anything vanishes."""
    kept = [k for k in range(len(columns)) if columns[k].stays or any(row.cells[k].plain.strip() for row in rows)]
    widths = {k: max(cell_len(columns[k].title), columns[k].least, *(r.cells[k].cell_len for r in rows)) for k in kept}

    def needed() -> int:
        return sum(min(widths[k], columns[k].most) + 2 for k in kept) - 1

    while needed() > screen.width and any(columns[k].rank for k in kept):
        kept.remove(max(kept, key=lambda k: columns[k].rank))
    titles = Row([Text(column.title) for column in columns])
    drawn = [_drawn(row, columns, kept, widths, screen) for row in rows]
    if has_titles:
        head = _drawn(titles, columns, kept, widths, screen)
        head.stylize("dim")
        return [head, *drawn]
    return drawn


def around(lines: Sequence[Text], marked: int | None, room: int, titles: int = 0) -> list[Text]:
    """At most `room` lines: titles as far as there is room for them, and rows around the marked one."""
    if room <= 0:
        return []
    rows = lines[titles:]
    kept = lines[:titles] if room > titles else []
    count = room - len(kept)
    first = max(0, min((marked or 0) - count // 2, len(rows) - count))
    return [*kept, *rows[first : first + count]]


def _drawn(row: Row, columns: Sequence[Column], kept: Sequence[int], widths: Mapping[int, int], screen: Screen) -> Text:
    line = Text(screen.glyphs.mark if row.is_marked else " ")
    for place, k in enumerate(kept):
        cell = row.cells[k]
        pad = " " * (widths[k] - cell.cell_len)
        line.append("  " if place else "")
        line.append_text(Text.assemble(pad, cell) if columns[k].align == RIGHT else Text.assemble(cell, pad))
    if row.is_marked:
        line.stylize("reverse")
    return line


def counted(count: int, noun: str) -> str:
    """How many of something: 1 device, 2 devices.

    Example:
        >>> counted(1, "box"), counted(3, "device"), counted(2, "box")
        ('1 box', '3 devices', '2 boxes')
    """
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('x') else 's'}"
