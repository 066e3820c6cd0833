"""House-number digits, drawn: a data set for a first run with no network at all. Learnable, not trivial, not SVHN.

Each image is what SVHN's cropped digits are: a window around one digit of a number, with parts of its neighbours beside
it, seen at a slant, on a plate or a wall, lit unevenly, out of focus, with a sensor's noise. The digits come in two
faces, each in several weights: Pillow's built-in typeface, and a hand-laid one drawn with round strokes here.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cnnbo.models.svhn.layout import CLASSES, FILES, SIDE, Digits, Images, write_part

Field = npt.NDArray[np.float32]
Glyphs = list[list[Image.Image]]
"""Glyphs by face and digit: grey, 255 is ink, of one height and various widths."""

_HEIGHT: Final = 48  # pixels of a glyph, before it is seen at a slant
_CANVAS: Final = (176, 112)  # width and height of the strip that three digits are laid on
_MARGIN: Final = 4  # pixels around the final image, so that blurring has something to take in
_WIDE: Final = SIDE + 2 * _MARGIN
_CHUNK: Final = 100  # images drawn together; a unit of randomness, so it is part of what a seed means

Arc = tuple[float, float, float, float, float, float]
Path2D = tuple[tuple[float, float], ...]
# Centre lines in a box of width and height 1, y downwards. Arcs are (x, y, x radius, y radius, from, to) in degrees,
# clockwise from three o'clock; anything else is a polyline.
_STROKES: Final[dict[int, tuple[Arc | Path2D, ...]]] = {
    0: ((0.5, 0.5, 0.42, 0.5, 0, 360),),
    1: (((0.25, 0.22), (0.55, 0.0), (0.55, 1.0)),),
    2: ((0.5, 0.28, 0.4, 0.28, -170, 40), ((0.81, 0.46), (0.08, 1.0), (0.95, 1.0))),
    3: ((0.46, 0.26, 0.38, 0.26, -160, 90), (0.46, 0.76, 0.42, 0.24, -90, 160)),
    4: (((0.7, 1.0), (0.7, 0.0), (0.05, 0.7), (0.98, 0.7)),),
    5: (((0.85, 0.0), (0.2, 0.0), (0.15, 0.45)), (0.46, 0.67, 0.42, 0.33, -140, 150)),
    6: (((0.75, 0.0), (0.3, 0.3), (0.1, 0.62)), (0.5, 0.69, 0.42, 0.31, 0, 360)),
    7: (((0.05, 0.0), (0.95, 0.0), (0.4, 1.0)),),
    8: ((0.5, 0.25, 0.35, 0.25, 0, 360), (0.5, 0.75, 0.42, 0.25, 0, 360)),
    9: ((0.5, 0.31, 0.42, 0.31, 0, 360), ((0.9, 0.38), (0.7, 0.7), (0.25, 1.0))),
}


def write_dataset(folder: Path, sizes: dict[str, int], seed: int) -> None:
    """Draw a whole data set in SVHN's layout. The same seed and sizes give the same bytes (with the same Pillow).

    Args:
        folder: where to; made if it isn't there.
        sizes: number of images, >= 1, for each of `train`, `extra` and `test`.
        seed: >= 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stream, (part, name) in enumerate(FILES.items()):
        write_part(folder / name, *draw(sizes[part], (seed, stream)))


def draw(count: int, seed: tuple[int, ...]) -> tuple[Images, Digits]:
    """Draw `count` images; the first ones don't depend on how many follow.

    Returns:
        images, and the digits in their middle, 0-9, equally likely.
    """
    glyphs = _typeface() + _handwriting()
    chunks = [_draw_chunk(np.random.default_rng((*seed, start)), glyphs) for start in range(0, count, _CHUNK)]
    images = np.concatenate([chunk[0] for chunk in chunks])
    digits = np.concatenate([chunk[1] for chunk in chunks])
    return images[:count], digits[:count]


def _typeface() -> Glyphs:
    return [[_type(digit, weight) for digit in range(CLASSES)] for weight in (0, 1, 2, 4)]


def _type(digit: int, weight: int) -> Image.Image:
    font = ImageFont.load_default(2 * _HEIGHT)
    sheet = Image.new("L", (3 * _HEIGHT, 3 * _HEIGHT))
    ImageDraw.Draw(sheet).text((_HEIGHT, _HEIGHT // 2), str(digit), fill=255, font=font, stroke_width=weight)
    return _trimmed(sheet)


def _handwriting() -> Glyphs:
    styles = ((0.45, 5), (0.6, 7), (0.6, 12), (0.75, 9), (0.7, 17))
    return [[_stroke(digit, width, pen) for digit in range(CLASSES)] for width, pen in styles]


def _stroke(digit: int, width: float, pen: int) -> Image.Image:
    """A digit of that width, in heights, drawn with a round pen; `pen` is in pixels of twice the final size."""
    sheet = Image.new("L", (3 * _HEIGHT, 3 * _HEIGHT))
    drawing = ImageDraw.Draw(sheet)
    for line in _STROKES[digit]:
        points = [(24 + 2 * _HEIGHT * width * x, 24 + (2 * _HEIGHT - pen) * y) for x, y in _corners(line)]
        drawing.line(points, fill=255, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            drawing.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=255)
    return _trimmed(sheet)


def _corners(line: Arc | Path2D) -> list[tuple[float, float]]:
    if isinstance(line[0], tuple):
        return [(float(x), float(y)) for x, y in line]
    x, y, x_radius, y_radius, begin, end = line
    angles = np.radians(np.linspace(begin, end, 33))
    return [(x + x_radius * np.cos(a), y + y_radius * np.sin(a)) for a in angles]


def _trimmed(sheet: Image.Image) -> Image.Image:
    ink = sheet.crop(sheet.getbbox())
    return ink.resize((max(6, round(ink.width * _HEIGHT / ink.height)), _HEIGHT), Image.Resampling.LANCZOS)


def _draw_chunk(rng: np.random.Generator, glyphs: Glyphs) -> tuple[Images, Digits]:
    digits = rng.integers(0, CLASSES, _CHUNK)
    ink = np.stack([_ink(rng, glyphs, int(digit)) for digit in digits])[..., np.newaxis]
    ground, paint = _colours(rng)
    scene = _lit(rng, _wall(rng, ground))
    scene += _shadow(rng, ink) * (0.45 * scene.mean(axis=(1, 2), keepdims=True) - scene)
    scene += ink * (_lit(rng, paint) - scene)
    scene = _blurred(scene, rng.gamma(2.4, 0.45, _CHUNK).clip(0.3, 2.3))
    scene = scene[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    scene = scene + rng.standard_normal(scene.shape, np.float32) * _each(rng.uniform(0.002, 0.02, _CHUNK))
    return (scene.clip(0, 1) * 255).round().astype(np.uint8), digits.astype(np.uint8)


def _each(values: npt.NDArray[np.float64]) -> Field:
    """One value per image, ready to meet (images, height, width, colours)."""
    return values.astype(np.float32).reshape(-1, 1, 1, 1)


def _ink(rng: np.random.Generator, glyphs: Glyphs, digit: int) -> Field:
    """Where the paint of a digit and its neighbours is, 0-1, shape (_WIDE, _WIDE)."""
    face = glyphs[rng.integers(len(glyphs))]
    strip = Image.new("L", _CANVAS)
    middle = face[digit]
    left = (_CANVAS[0] - middle.width) // 2
    top = (_CANVAS[1] - _HEIGHT) // 2
    gap = int(rng.integers(3, 16))
    before, after = (face[neighbour] for neighbour in rng.integers(0, CLASSES, 2))
    # Numbers have one to five digits: most digits have a neighbour, and neighbours don't stand quite level.
    if rng.random() < 0.6:
        strip.paste(before, (left - gap - before.width, top + int(rng.integers(-3, 4))))
    if rng.random() < 0.6:
        strip.paste(after, (left + middle.width + gap, top + int(rng.integers(-3, 4))))
    strip.paste(middle, (left, top))
    seen = strip.transform((_WIDE, _WIDE), Image.Transform.PERSPECTIVE, _view(rng), Image.Resampling.BICUBIC)
    return np.asarray(seen, np.float32) / 255


def _view(rng: np.random.Generator) -> tuple[float, ...]:
    """Coefficients of the perspective that leads from the final image back to the strip, as Pillow wants them."""
    scale = _HEIGHT / (SIDE * rng.uniform(0.68, 0.98))  # SVHN's boxes are tight: the digit fills most of the height
    turn, lean, squeeze = rng.normal(0, 0.09), rng.normal(0, 0.14), rng.uniform(0.85, 1.25)
    turning = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = scale * turning @ np.array([[squeeze, lean], [0.0, 1.0]])
    tilt = rng.normal(0, 0.0025, 2)
    centre = np.array(_CANVAS) / 2
    eye = np.full(2, _WIDE / 2) + rng.normal(0, 1.1, 2)
    # With v = pixel - eye the strip is met at centre + linear v / (1 + tilt v); multiplied out below.
    numerator = linear + np.outer(centre, tilt)
    constant = centre * (1 - tilt @ eye) - linear @ eye
    rows = np.column_stack([numerator, constant])
    weight = 1 - tilt @ eye
    return tuple((np.concatenate([rows[0], rows[1], tilt]) / weight).tolist())


def _colours(rng: np.random.Generator) -> tuple[Field, Field]:
    """Colour of the ground and of the paint, each (images, 1, 1, 3): sometimes far apart, sometimes hard to tell."""
    tint = np.stack([_tint(rng), _tint(rng)])
    contrast = rng.uniform(0.09, 0.75, _CHUNK) * rng.choice([-1, 1], _CHUNK)
    darker = rng.uniform(0.05, 0.95 - np.abs(contrast))
    ground_light = darker + np.where(contrast < 0, np.abs(contrast), 0)
    light = np.stack([ground_light, ground_light + contrast])[..., np.newaxis]
    ground, paint = (light + tint).clip(0.02, 0.98).astype(np.float32).reshape(2, -1, 1, 1, 3)
    return ground, paint


def _tint(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """What makes a colour of a grey, shape (images, 3): brick and sand, or slate and enamel blue; green is rare."""
    strength = rng.choice([0.02, 0.07, 0.2], (_CHUNK, 1), p=[0.45, 0.35, 0.2])
    warmth, green = rng.normal(0.1, 1, (_CHUNK, 1)), rng.normal(0, 0.3, (_CHUNK, 1))
    tint: npt.NDArray[np.float64] = strength * (
        warmth * np.array([1.0, 0.05, -1.05]) + green * np.array([-0.7, 0.6, -0.3])
    )
    return tint


def _wall(rng: np.random.Generator, ground: Field) -> Field:
    """The ground with stains, and now and then the edge of a plate above or below."""
    stains = _smooth(rng, 6) * _each(rng.uniform(0.0, 0.09, _CHUNK))
    edge = rng.uniform(_MARGIN, _MARGIN + 3, _CHUNK).reshape(-1, 1, 1, 1)
    rows = np.arange(_WIDE).reshape(1, -1, 1, 1)
    rows = np.where(rng.random(_CHUNK).reshape(-1, 1, 1, 1) < 0.5, rows, _WIDE - 1 - rows)
    beyond = (rows < edge) & (rng.random(_CHUNK).reshape(-1, 1, 1, 1) < 0.25)
    around = (rng.uniform(0.1, 0.9, (_CHUNK, 1)) + _tint(rng)).reshape(-1, 1, 1, 3).astype(np.float32)
    return np.where(beyond, around, ground + stains)


def _smooth(rng: np.random.Generator, knots: int) -> Field:
    """Cloudy grey fields, about standard normal, (images, _WIDE, _WIDE, 1), with about `knots` clouds a side."""
    coarse = rng.standard_normal((_CHUNK, knots, knots), np.float32)
    position = np.linspace(0, knots - 1.001, _WIDE)
    index, part = position.astype(int), (position % 1).astype(np.float32)
    weights = np.zeros((_WIDE, knots), np.float32)
    weights[np.arange(_WIDE), index] = 1 - part
    weights[np.arange(_WIDE), index + 1] = part
    fields: Field = np.einsum("yi,nij,xj->nyx", weights, coarse, weights, optimize=True)[..., np.newaxis]
    return fields


def _lit(rng: np.random.Generator, scene: Field) -> Field:
    """The scene under light that falls off to one side."""
    across = np.linspace(-1, 1, _WIDE, dtype=np.float32)
    slope = _each(rng.normal(0, 0.09, _CHUNK)), _each(rng.normal(0, 0.09, _CHUNK))
    return scene * (1 + slope[0] * across.reshape(1, 1, -1, 1) + slope[1] * across.reshape(1, -1, 1, 1))


def _shadow(rng: np.random.Generator, ink: Field) -> Field:
    """Where raised digits throw a shadow, one pixel down and to the right, as a share of darkness; most throw none."""
    strength = rng.uniform(0.3, 0.8, _CHUNK) * (rng.random(_CHUNK) < 0.3)
    return np.roll(ink, (1, 1), axis=(1, 2)) * _each(strength)


def _blurred(scene: Field, sigma: npt.NDArray[np.float64]) -> Field:
    """Each image blurred by a Gaussian of its own width, in pixels, by way of the spectrum."""
    rows, columns = np.fft.fftfreq(_WIDE)[:, np.newaxis], np.fft.rfftfreq(_WIDE)[np.newaxis]
    damping = np.exp(-2 * (np.pi * sigma[:, np.newaxis, np.newaxis]) ** 2 * (rows**2 + columns**2))[..., np.newaxis]
    spectrum = np.fft.rfft2(scene, axes=(1, 2)) * damping
    return np.fft.irfft2(spectrum, (_WIDE, _WIDE), axes=(1, 2)).astype(np.float32)
