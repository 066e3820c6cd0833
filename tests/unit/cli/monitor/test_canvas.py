"""Bars, sparklines and tables."""

import sys
from collections.abc import Mapping

import pytest
from rich.text import Text

from cnnbo.cli.monitor.canvas import ASCII, UNICODE, Column, Glyphs, Row, Screen, glyphs_of, table

SCREEN = Screen(20, None, 0.0)


def _table(width: int) -> list[str]:
    columns = [Column("a"), Column("b", rank=1), Column("c", rank=2), Column("d", "right", least=4)]
    cells = [Text("one"), Text("two"), Text("three"), Text("4")]
    screen = Screen(width, None, 0.0)
    return [line.plain for line in table(columns, [Row(cells), Row([Text("1"), *cells[1:]], True)], screen)]


def test_columns_go_by_their_rank_where_room_is_scarce() -> None:
    """What matters least goes first, and titles stay above their figures."""
    assert _table(22) == [
        " a    b    c         d",
        " one  two  three     4",
        "▸1    two  three     4",
    ]
    assert _table(21)[1] == " one  two     4"
    assert _table(14)[1] == " one     4"


def test_a_column_without_anything_vanishes() -> None:
    """A CPU slot has no temperature."""
    drawn = table([Column("a"), Column("temp")], [Row([Text("x"), Text("")])], SCREEN)
    assert [line.plain for line in drawn] == [" a", " x"]


def test_a_sparkline_spans_its_values() -> None:
    """The newest value is always there; a constant is a flat line, not a division by zero."""
    assert SCREEN.sparkline([0.0, 0.5, 1.0], 8) == "▁▅█"
    assert SCREEN.sparkline([3.0, 3.0], 8) == "▁▁"
    assert SCREEN.sparkline([], 8) == ""
    assert SCREEN.sparkline([float(k) for k in range(100)], 4)[-1] == "█"
    assert Screen(20, None, 0.0, ASCII).sparkline([0.0, 1.0, 0.0], 8) == "_^_"


def test_the_largest_values_are_drawn_too() -> None:
    """A loss that explodes is what people look for; the distance of two floats may be more than a float holds."""
    huge = sys.float_info.max
    assert SCREEN.sparkline([-huge, 0.0, huge], 8) == "▁▅█"


def test_a_bar_ends_where_its_share_does() -> None:
    """Shares beyond 0 and 1 happen (an estimate that was too low), and must not push the rest aside."""
    bars = [SCREEN.bar(share, 4) for share in (-1.0, 0.0, 0.5, 0.53, 1.0, 7.0)]
    assert bars == ["    ", "    ", "██  ", "██▏ ", "████", "████"]
    assert UNICODE.bar[0] == " "
    assert Screen(20, None, 0.0, ASCII).bar(0.5, 8) == "####...."


@pytest.mark.parametrize(
    ("environ", "glyphs"),
    [
        ({}, UNICODE),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, ASCII),
        ({"LC_ALL": "", "LC_CTYPE": "de_DE.utf8", "LANG": "C"}, UNICODE),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, ASCII),
        ({"LC_CTYPE": "C.UTF-8"}, UNICODE),
        ({"LANG": "C.UTF-8"}, UNICODE),
        ({"LANG": "en_US"}, ASCII),
    ],
)
def test_the_locale_decides_what_a_terminal_shows(environ: Mapping[str, str], glyphs: Glyphs) -> None:
    """Python writes UTF-8 in the C locale, too; the terminal there shows a line as three question marks a character."""
    assert glyphs_of("utf-8", environ) == glyphs
    assert glyphs_of("ascii", environ) == ASCII
