"""A report as one HTML page that needs nothing but itself: no script, no font, no request. Imports Jinja2."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from cnnbo import __version__
from cnnbo.cli.reporting.parts import Drawing, Section, Table
from cnnbo.cli.reporting.style import theme_css
from cnnbo.cli.reporting.tables import text_of

MARK: Final = "cnnbo-report"
"""Name of the meta element that says of which study or comparison a page is."""

_PACKAGE: Final = "cnnbo.cli.reporting"


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
    environment.filters["number_columns"] = _number_columns
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


def _number_columns(table: Table) -> Sequence[bool]:
    """Which columns hold numbers, as far as they hold anything."""
    return [
        any(row[index] is not None for row in table.rows) and not any(isinstance(row[index], str) for row in table.rows)
        for index in range(len(table.columns))
    ]
