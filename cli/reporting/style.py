"""How figures look, and how they become an SVG element of a page and a PNG file. Imports Matplotlib.

A figure is painted once, in light colours. In the SVG each colour becomes a custom property of the page that holds it,
with the light colour to fall back on: so one file follows the page's theme and stands by itself too.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from cnnbo.cli.reporting.parts import Drawing

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType  # older releases have no such name, and take any

WIDTH: Final = 540.0
"""Units of a figure's width, in which letters are `TEXT` high: on a screen of 380 px they are still 9 px."""

TEXT: Final = 13.0
SMALL: Final = 12.0

_MANY_DECADES: Final = 1000.0
_LEAST_SPAN: Final = 1e-5
_LARGEST: Final = 1e6
"""Between these, numbers are written without an exponent."""

_POINTS_PER_INCH: Final = 72.0
_PNG_DOTS_PER_INCH: Final = 200.0


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour by what it is for.

    Attributes:
        name: of the page's custom property, without its hyphens in front.
        light: on white paper, as `#rrggbb`, in lower case; no two colours share it.
        dark: the same on dark paper.
    """

    name: str
    light: str
    dark: str


PAPER: Final = Colour("paper", "#ffffff", "#14171a")
INK: Final = Colour("ink", "#1f2328", "#e6e8eb")
MUTED: Final = Colour("muted", "#59616b", "#a4acb5")
GRID: Final = Colour("grid", "#dde1e6", "#33393f")
FILL: Final = Colour("fill", "#eef1f4", "#22272c")

# The hues of Okabe and Ito, which colour-blind readers tell apart, dark (or light) enough to write with.
LINES: Final = (
    Colour("line-1", "#b84a00", "#ff9d62"),
    Colour("line-2", "#0064a3", "#6fbaf2"),
    Colour("line-3", "#00765a", "#3fcfa3"),
    Colour("line-4", "#97358a", "#e79cda"),
    Colour("line-5", "#7d5a00", "#e3bd4f"),
    Colour("line-6", "#5c5c5c", "#bdbdbd"),
)
COLOURS: Final = (PAPER, INK, MUTED, GRID, FILL, *LINES)

DASHES: Final = ("-", (0, (5.0, 1.8)), (0, (1.2, 1.4)), (0, (7.0, 1.6, 1.4, 1.6)), (0, (3.0, 1.2)), "-")
"""A way of drawing a line for each of `LINES`, so that none is told by its colour alone."""

Dashes = str | tuple[int, tuple[float, ...]]

_STYLE: "Final[dict[RcKeyType, Any]]" = {
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "cnnbo",  # the same figure gives the same bytes
    "text.parse_math": False,  # a parameter may be called $x$
    "font.family": "DejaVu Sans",  # comes with Matplotlib; among the widest, so that what fits here fits in any
    "font.size": TEXT,
    "text.color": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.facecolor": "none",
    "axes.labelcolor": INK.light,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titlecolor": INK.light,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID.light,
    "grid.linewidth": 1.0,
    "xtick.color": MUTED.light,
    "xtick.labelcolor": INK.light,
    "xtick.labelsize": SMALL,
    "ytick.color": MUTED.light,
    "ytick.labelcolor": INK.light,
    "ytick.labelsize": SMALL,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "lines.linewidth": 2.0,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


def theme_css() -> str:
    """The custom properties of the figures' colours, as a style sheet for light and dark pages.

    >>> theme_css().splitlines()[0][:24]
    ':root { color-scheme: li'
    """
    light, dark = (
        " ".join(f"--{colour.name}: {value};" for colour, value in values)
        for values in (((c, c.light) for c in COLOURS), ((c, c.dark) for c in COLOURS))
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def line_colour(index: int) -> Colour:
    """The colour of the so-manyth line, from 0; they begin anew after the last."""
    return LINES[index % len(LINES)]


def dashes(index: int) -> Dashes:
    """How the so-manyth line is drawn, from 0."""
    return DASHES[index % len(DASHES)]


def draw(key: str, title: str, caption: str, alt: str, height: float, paint: Callable[[Figure], None]) -> Drawing:
    """A drawing of what `paint` puts onto an empty figure.

    Args:
        key: see `Drawing`; unique on its page.
        title: see `Drawing`.
        caption: see `Drawing`.
        alt: see `Drawing`.
        height: of the figure, where `WIDTH` is its width.
        paint: paints in the light colours of `COLOURS`, and no others.
    """
    with matplotlib.rc_context(_STYLE):
        size = (WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        svg = _svg(figure, key, alt)
        figure.set_layout_engine("none")  # the layout found for the SVG holds for the PNG file, and took its time
        return Drawing(key, title, caption, alt, svg, _png(figure))


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_PNG_DOTS_PER_INCH, facecolor=PAPER.light, metadata={"Software": None})
    return file.getvalue()


def _svg(figure: Figure, key: str, alt: str) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _element(file.getvalue(), key, alt)


_HEAD: Final = re.compile(r"^.*?<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_OWN_STYLE: Final = re.compile(r"\s*<metadata>.*?</metadata>|\s*<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_ID: Final = re.compile(r' id="([^"]*)"')
_REFERENCE: Final = re.compile(r'url\(#([^)]*)\)|href="#([^"]*)"')
_NUMBERS: Final = re.compile(r' (?:d|x|y|transform)="[^"]*"')
_DIGITS: Final = re.compile(r"(\.\d\d)\d+")
_MARKS: Final = re.compile(r'(?:<use [^>]*? style="[^"]*"/>\s*){2,}')
_MARK_STYLE: Final = re.compile(r' style="[^"]*"')
_FONT: Final = re.compile(r"'DejaVu Sans'[^;\"]*")


def _element(document: str, key: str, alt: str) -> str:
    """Matplotlib's SVG document as an element that may stand in a page beside others."""
    body = _OWN_STYLE.sub("", document)
    head = (
        r'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" role="img" '
        f'aria-label="{_quoted(alt)}" style="stroke-linejoin: round; stroke-linecap: butt">'
    )
    body = _HEAD.sub(head, body)
    referred = {name for found in _REFERENCE.findall(body) for name in found}
    body = _ID.sub(lambda match: f' id="{key}-{match[1]}"' if match[1] in referred else "", body)
    body = _REFERENCE.sub(lambda match: match[0].replace("#", f"#{key}-"), body)
    body = _NUMBERS.sub(lambda match: _DIGITS.sub(r"\1", match[0]), body)  # a hundredth of a pixel is enough
    body = _MARKS.sub(lambda match: _with_one_style(match[0]), body)
    body = _FONT.sub("system-ui, sans-serif", body)
    for colour in COLOURS:
        body = body.replace(f' fill="{colour.light}"', f' style="fill: {colour.light}"')  # in hatches
        body = body.replace(f": {colour.light}", f": var(--{colour.name}, {colour.light})")
    return body.strip()


def _with_one_style(marks: str) -> str:
    """Marks of equal looks, which a group has once for all of them."""
    looks = set(_MARK_STYLE.findall(marks))
    return f"<g{looks.pop()}>{_MARK_STYLE.sub('', marks)}</g>" if len(looks) == 1 else marks


def _quoted(text: str) -> str:
    r"""Text of an attribute, in the replacement of a regular expression, where a backslash would mean a group."""
    return escape(text).replace("\\", r"\\")


_VARIABLE: Final = re.compile(r"var\(--[a-z0-9-]+, (#[0-9a-f]{6})\)")


def standalone(svg: str) -> str:
    """A drawing's SVG as a file of its own, in light colours, for programs that know no custom properties.

    >>> standalone('<svg><path style="fill: var(--ink, #1f2328)"/></svg>').splitlines()[-1]
    '<svg><path style="fill: #1f2328"/></svg>'
    """
    return f'<?xml version="1.0" encoding="utf-8"?>\n{_VARIABLE.sub(lambda match: match[1], svg)}\n'


# -- what several figures share ---------------------------------------------------------------------------------------


def name_values(axes: Axes, name: str) -> None:
    """Write what the vertical axis shows above it, where it reads from left to right."""
    axes.set_title(name, fontsize=TEXT, pad=8)


def whole_numbers(axes: Axes) -> None:
    """Let the horizontal axis have whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=[1, 2, 5, 10], integer=True))


@dataclass(frozen=True, slots=True)
class End:
    """Where a line ends, and what is written there.

    Attributes:
        y: in the values of the axis.
        text: what it is called.
        colour: of the line.
    """

    y: float
    text: str
    colour: Colour


def label_ends(axes: Axes, ends: Iterable[End], height: float) -> None:
    """Write lines' names to the right of the axes at the height of their ends, moved apart where two would touch.

    Args:
        axes: have their final limits.
        ends: of their lines.
        height: of the axes with the text below and above them, in units of the figure, whose layout comes later.
    """
    ordered = sorted(ends, key=lambda end: end.y)
    low, high = axes.get_ylim()
    gap = 1.25 * SMALL / (height - 60.0)
    heights = spread([(end.y - low) / (high - low) for end in ordered], gap)
    for end, at in zip(ordered, heights, strict=True):
        axes.annotate(
            end.text,
            (1.0, at),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=end.colour.light,
            fontsize=SMALL,
            annotation_clip=False,
        )


def spread(ascending: Sequence[float], gap: float) -> list[float]:
    """Heights pushed apart, both ways alike, until neighbours have the gap; those that had it stay.

    >>> [round(height, 3) for height in spread([0.5, 0.52, 0.9], 0.1)]
    [0.46, 0.56, 0.9]
    """
    heights = list(ascending)
    for _ in range(200):  # each pass halves what still overlaps
        for k in range(len(heights) - 1):
            push = max(0.0, gap - (heights[k + 1] - heights[k])) / 2
            heights[k] -= push
            heights[k + 1] += push
    return heights


def fit(axes: Axes, values: Iterable[float], margin: float = 0.06) -> None:
    """Give the vertical axis just the room that some values take, all finite, and numbers that tell its ticks apart.

    Where positive values span three decades or more the axis is logarithmic.
    """
    known = np.fromiter(values, dtype=np.float64)
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if low > 0 and high / low > _MANY_DECADES:
        ratio = (high / low) ** margin
        axes.set_yscale("log")
        axes.set_ylim(low / ratio, high * ratio)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    span = high - low or abs(high) * 0.1 or 1.0
    axes.set_ylim(low - margin * span, high + margin * span)
    if span >= _LEAST_SPAN and max(abs(low), abs(high)) < _LARGEST:
        axes.ticklabel_format(axis="y", style="plain", useOffset=False)
        return
    digits = 2 + max(0, math.ceil(math.log10(max(abs(low), abs(high), span) / span)))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{0.0 if abs(value) < span / 1e6 else value:.{digits}g}")
    )
