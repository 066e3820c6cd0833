"""A report as one HTML page that needs nothing but itself: no script, no font, no request. Imports Jinja2."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from cnnbo import __version__
from cnnbo.cli.reporting.parts import Cell, Drawing, Section, Table
from cnnbo.cli.reporting.style import theme_css
from cnnbo.cli.reporting.tables import text_of

MARK: Final = "cnnbo-report"
"""Name of the meta element that says of which study or comparison a page is."""

_PACKAGE: Final = "cnnbo.cli.reporting"

_WORD: Final = 16
"""Up to so many letters are kept on one line."""

_SENTENCE: Final = 60
"""Texts longer than that need a column as wide as a sentence's."""


@dataclass(frozen=True, slots=True)
class Report:
    """What stands on the page.

    Attributes:
        name: of the study or comparison.
        title: the page's heading.
        facts: what was measured, on what, when: labels with what stands behind them.
        headline: the result, in sentences.
        sections: in their order.
    """

    name: str
    title: str
    facts: tuple[tuple[str, str], ...]
    headline: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """All drawings, in their order."""
        return tuple(part for section in self.sections for part in section.parts if isinstance(part, Drawing))

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, in their order."""
        return tuple(part for section in self.sections for part in section.parts if isinstance(part, Table))


def page_of(report: Report, written_at: float) -> str:
    """The report's page.

    Whatever stands in the report is text, but for the drawings' SVG, which this package draws itself.

    Args:
        report: what to show.
        written_at: in seconds since the epoch.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.tests["drawing"] = lambda part: isinstance(part, Drawing)
    environment.tests["table"] = lambda part: isinstance(part, Table)
    environment.filters["column_classes"] = _column_classes
    environment.filters["text"] = text_of
    template = environment.from_string(_resource("page.html.j2"))
    return template.render(
        report=report,
        mark=MARK,
        version=__version__,
        written=f"{datetime.fromtimestamp(written_at, UTC):%Y-%m-%d %H:%M} UTC",
        css=theme_css() + _resource("page.css"),
    )


def _resource(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _column_classes(table: Table) -> Sequence[str]:
    """How the columns are set: numbers below each other, sentences with room to read, everything else on one line."""
    return [_column_class([row[index] for row in table.rows]) for index in range(len(table.columns))]


def _column_class(cells: Sequence[Cell]) -> str:
    texts = [cell for cell in cells if isinstance(cell, str)]
    if not texts:
        return "number"
    longest = max(map(len, texts))
    return "prose" if longest > _SENTENCE else "words" if longest > _WORD else "word"
