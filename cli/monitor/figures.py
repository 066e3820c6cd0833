"""How the monitor writes numbers, times and names."""

import itertools
import math
from collections.abc import Sequence


def printable(text: str) -> str:
    r"""The text with control characters replaced: names come from the network, and an escape sequence steers a screen.

    Example:
        >>> printable("svhn\x1b[2J")
        'svhn?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def initials(names: Sequence[str]) -> list[str]:
    """Short forms of parameter names, all different, or the names themselves where they can't be told apart.

    Example:
        >>> initials(["filter1_width", "learning_rate", "momentum"])
        ['f1w', 'lr', 'momen']
    """

    def short(name: str) -> str:
        parts = [part for part in name.split("_") if part]
        if len(parts) < 2:
            return name[:5]
        return "".join(part[0] + "".join(filter(str.isdigit, part[1:])) for part in parts)

    shortened = [short(name) for name in names]
    return [name if shortened.count(s) > 1 else s for name, s in zip(names, shortened, strict=True)]


def short_value(value: object) -> str:
    """A parameter's value in about seven columns."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return str(value)
    if value != 0 and math.isfinite(value) and not 1e-2 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.3g}"


def figure(value: float) -> str:
    """A trial's value: four decimals where that says enough, so that they stand below each other."""
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e3 else f"{value:.4g}"


def minutes(seconds: float) -> str:
    """A short span as a clock shows it: 1:39, or 2:05:00."""
    whole = int(max(0.0, seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def duration(seconds: float) -> str:
    """A span in its two largest units: 45s, 2m 12s, 3h 04m, 3d 04h."""
    whole = int(max(0.0, seconds))
    units: tuple[tuple[str, int], ...] = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for (large, size), (small, part) in itertools.pairwise(units):
        if whole >= size:
            return f"{whole // size}{large} {whole % size // part:02d}{small}"
    return f"{whole}s"


def rough(seconds: float) -> str:
    """A span as precisely as an estimate deserves: 45s, 37 min, 3h 04m, 3d 04h."""
    return f"{seconds / 60:.0f} min" if 60 <= seconds < 3570 else duration(seconds)
