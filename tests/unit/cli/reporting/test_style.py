from html import unescape
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from cnnbo.cli.reporting.style import COLOURS, INK, LINES, MUTED, PAPER, Colour, draw, standalone, theme_css

_TEXT = 'a $x$ & <b> "c" \\1 é'


def _luminance(colour: str) -> float:
    shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [INK, MUTED, *LINES], ids=lambda colour: colour.name)
def test_letters_can_be_read_on_both_papers(colour: Colour) -> None:
    """Lines are labelled in their colours: WCAG 2 asks for 4.5 to 1 (level AA)."""
    assert _contrast(colour.light, PAPER.light) >= 4.5
    assert _contrast(colour.dark, PAPER.dark) >= 4.5


def test_every_colour_can_be_told_from_the_others_by_its_light_form() -> None:
    """That is how it is found in an SVG."""
    assert len({colour.light for colour in COLOURS}) == len(COLOURS)
    assert all(
        f"--{colour.name}: {value};" in theme_css() for colour in COLOURS for value in (colour.light, colour.dark)
    )


def test_any_text_survives_the_way_into_an_svg() -> None:
    """Parameters and methods are named by users, and a file must stay XML whatever they write."""

    def paint(figure: Figure) -> None:
        figure.subplots().set_title(_TEXT)

    drawing = draw("a-key", "A title", "", _TEXT, 100.0, paint)
    element = ElementTree.fromstring(drawing.svg)
    texts = [unescape(child.text or "") for child in element.iter("{http://www.w3.org/2000/svg}text")]
    assert element.get("aria-label") == _TEXT and _TEXT in texts
    assert "var(" in drawing.svg and "var(" not in standalone(drawing.svg)
    assert ElementTree.fromstring(standalone(drawing.svg).encode()).get("role") == "img"
