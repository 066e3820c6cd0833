"""Figure 1: the network of a configuration, drawn to scale. Imports Matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from cnnbo.cli.reporting import captions, style
from cnnbo.cli.reporting.context import Context
from cnnbo.cli.reporting.parts import Drawing
from cnnbo.scheduler.space import Configuration

SIDE: Final = 32
HIDDEN: Final = 1024
CLASSES: Final = 10

_PIXEL: Final = 2.1
"""Units of the figure for a pixel of a layer's side."""

_CHANNEL: Final = 0.7
"""Units of the figure, to the right and upwards, for a channel: sides and channels have a scale of their own."""

_HIDDEN_UNIT: Final = 0.11
"""Units of the figure for a unit of the dense layer."""

_ROW: Final = 188.0
_MARGIN: Final = 8.0
_BAR: Final = 9.0
_LETTER: Final = 7.3
"""About the width of a letter in units of the figure."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A block of values between two operations.

    Attributes:
        name: what made it.
        size: how people write its size.
        side: of its images in pixels; 0 where it is a plain list.
        depth: its channels, or the length of the list.
        window: side of the filters that read it next, in pixels; 0 where none does.
    """

    name: str
    size: str
    side: int
    depth: int
    window: int = 0


def layers(configuration: Configuration) -> tuple[Layer, ...]:
    """The network of 2016 with a configuration of `svhn-cnn`, from image to digits.

    >>> from cnnbo.models.registry import SVHN_CNN
    >>> [layer.size for layer in layers(SVHN_CNN.defaults)]
    ['32×32', '32×32×32', '16×16×32', '16×16×64', '8×8×64', '1024', '10']
    """  # noqa: RUF002 - a cross between sizes
    w1, d1, w2, d2 = (
        int(configuration[name]) for name in ("filter1_width", "filter1_depth", "filter2_width", "filter2_depth")
    )
    half, quarter = SIDE // 2, SIDE // 4
    return (
        Layer("input", _size(SIDE, SIDE), SIDE, 1, w1),
        Layer(f"conv {_size(w1, w1)}", _size(SIDE, SIDE, d1), SIDE, d1),
        Layer("pool", _size(half, half, d1), half, d1, w2),
        Layer(f"conv {_size(w2, w2)}", _size(half, half, d2), half, d2),
        Layer("pool", _size(quarter, quarter, d2), quarter, d2),
        Layer("dense", str(HIDDEN), 0, HIDDEN),
        Layer("digit", str(CLASSES), 0, CLASSES),
    )


def _size(*numbers: int) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, numbers))


def parameters(configuration: Configuration) -> int:
    """How many weights and biases the network has.

    >>> from cnnbo.models.registry import SVHN_CNN
    >>> parameters(SVHN_CNN.defaults)
    4257674
    """
    w1, d1, w2, d2 = (
        int(configuration[name]) for name in ("filter1_width", "filter1_depth", "filter2_width", "filter2_depth")
    )
    flat = (SIDE // 4) ** 2 * d2
    return w1 * w1 * d1 + d1 + w2 * w2 * d1 * d2 + d2 + (flat + 1) * HIDDEN + (HIDDEN + 1) * CLASSES


@dataclass(frozen=True, slots=True)
class Network:
    """A network to be drawn.

    Attributes:
        name: which one it is, like `tuned: bo, run 3, trial 17`.
        configuration: of `svhn-cnn`.
    """

    name: str
    configuration: Configuration


def figure_1(networks: Sequence[Network], context: Context, title: str) -> Drawing:
    """Networks below each other, all to the same scale; the first one is what the figure is about."""
    caption = (
        "Layers as blocks: sides in pixels to one scale, channels as depth to another, equal in all of the networks; "
        "the small squares are the filters, at the scale of the layer that they read. The dense layer and the digits "
        "are bars at a scale of their own. "
        f"{' '.join(f'{network.name}: {_described(network.configuration)}.' for network in networks)} "
        f"{captions.where(context)}"
    )
    alt = "The network drawn to scale. " + " ".join(
        f"{network.name}: {', '.join(f'{layer.name} {layer.size}' for layer in layers(network.configuration))}."
        for network in networks
    )

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        height = _ROW * len(networks)
        axes.set_xlim(0, style.WIDTH)
        axes.set_ylim(0, height)
        axes.set_axis_off()
        for row, network in enumerate(networks):
            _paint_network(axes, network, height - _ROW * row, style.LINES[0] if row == 0 else style.LINES[5])

    return style.draw("figure-1-topology", title, caption, alt, _ROW * len(networks), paint)


def _described(configuration: Configuration) -> str:
    w1, w2 = configuration["filter1_width"], configuration["filter2_width"]
    d1, d2 = configuration["filter1_depth"], configuration["filter2_depth"]
    rest = ", ".join(
        f"{name.replace('_', ' ')} {float(configuration[name]):.3g}"
        for name in ("keep_probability", "learning_rate", "momentum", "decay")
    )
    count = f"{parameters(configuration) / 1e6:.2f} million weights"
    return f"{d1} filters of {_size(int(w1), int(w1))}, then {d2} of {_size(int(w2), int(w2))}; {rest}; {count}"


def _paint_network(axes: Axes, network: Network, top: float, colour: style.Colour) -> None:
    axes.text(_MARGIN, top - 6, network.name, va="top", fontsize=style.TEXT, weight="bold")
    floor = top - _ROW + 40
    blocks = layers(network.configuration)
    cells = [max(_span(layer), _LETTER * max(len(layer.size), len(layer.name))) for layer in blocks]
    gap = (style.WIDTH - 2 * _MARGIN - sum(cells)) / (len(blocks) - 1)
    left = _MARGIN
    reading: tuple[Layer, float] | None = None
    for layer, cell in zip(blocks, cells, strict=True):
        block_left = left + (cell - _span(layer)) / 2
        if reading is not None:
            _paint_filter(axes, *reading, (block_left + 0.5 * layer.side * _PIXEL, floor + 0.3 * layer.side * _PIXEL))
        _paint_layer(axes, layer, block_left, floor, colour)
        reading = (layer, block_left) if layer.window else None
        text = f"{layer.name}\n{layer.size}"
        axes.text(left + cell / 2, floor - 8, text, ha="center", va="top", fontsize=style.SMALL)
        left += cell + gap


def _span(layer: Layer) -> float:
    return layer.side * _PIXEL + layer.depth * _CHANNEL if layer.side else _BAR


def _paint_layer(axes: Axes, layer: Layer, left: float, floor: float, colour: style.Colour) -> None:
    if not layer.side:
        _paint_face(axes, ((0, 0), (_BAR, 0), (_BAR, layer.depth * _HIDDEN_UNIT), (0, layer.depth * _HIDDEN_UNIT)),
                    left, floor, colour)  # fmt: skip
        return
    side, depth = layer.side * _PIXEL, layer.depth * _CHANNEL
    front = ((0.0, 0.0), (side, 0.0), (side, side), (0.0, side))
    above = ((0.0, side), (depth, side + depth), (side + depth, side + depth), (side, side))
    beside = ((side, 0.0), (side + depth, depth), (side + depth, side + depth), (side, side))
    for face in (above, beside, front):
        _paint_face(axes, face, left, floor, colour)


Corners = Sequence[tuple[float, float]]


def _paint_face(axes: Axes, corners: Corners, left: float, floor: float, colour: style.Colour) -> None:
    placed = [(left + x, floor + y) for x, y in corners]
    axes.add_patch(Polygon(placed, facecolor=style.FILL.light, edgecolor=colour.light, linewidth=1.2))


def _paint_filter(axes: Axes, layer: Layer, left: float, to: tuple[float, float]) -> None:
    """The filters that read a layer, at its scale, and where what they read goes."""
    side = layer.window * _PIXEL
    x = left + (layer.side * _PIXEL - side) * 0.55
    y = to[1] - side / 2
    corners = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    axes.add_patch(Polygon(corners, fill=False, edgecolor=style.INK.light, linewidth=1.2))
    for corner in (corners[1], corners[2]):
        axes.plot((corner[0], to[0]), (corner[1], to[1]), color=style.MUTED.light, linewidth=0.8, zorder=5)
