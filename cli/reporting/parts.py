"""What a report is made of: drawings and tables, grouped into sections."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure, drawn.

    Attributes:
        key: name of its files without their ending, like `figure-3-best-seen`.
        title: what it shows, in a few words, with its number where the post of 2016 has one.
        caption: what is drawn, with n, quantiles and whatever else one must know to believe it.
        alt: what somebody who can't see it should know: its message, not its looks.
        svg: the drawing as an XML element that may stand in a page, with colours from the page's custom properties.
        png: the same for slides, in light colours.
    """

    key: str
    title: str
    caption: str
    alt: str
    svg: str
    png: bytes


Cell = str | int | float | None
"""A fact of a table; None = there is none."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: its name in the CSV file, with its unit, like `duration_s`.
        title: its heading for people.
        form: format of its numbers for people, like `.4f`; CSV has them in full.
    """

    key: str
    title: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of facts; the page, CSV and LaTeX are three ways of writing it.

    Attributes:
        key: name of its files without their ending, like `table-1-held-out`.
        title: what it holds, in a few words.
        caption: n, intervals, units, and whatever else one must know to believe it.
        columns: its columns.
        rows: as many cells each.
        is_long: whether it is too long for the page, which then only links to its CSV file.
    """

    key: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Sentences on the page, each a paragraph.

    Attributes:
        kind: `warning` for what a reader must not miss.
    """

    paragraphs: tuple[str, ...]
    kind: Literal["plain", "warning"] = "plain"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        key: where links lead to.
        title: its heading.
        parts: in their order.
    """

    key: str
    title: str
    parts: tuple[Drawing | Table | Note, ...]
