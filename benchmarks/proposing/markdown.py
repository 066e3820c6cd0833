"""Numbers and tables as Markdown."""

import math
from collections.abc import Iterable, Sequence

from proposing.statistics import Interval

NOTHING = "no rows"


def table(header: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first columns are words, aligned left, and whose others are numbers, aligned right."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def bullets(sentences: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def paragraphs(*parts: str) -> str:
    """What is not empty, with empty lines between."""
    return "\n\n".join(part for part in parts if part)


def value(number: float | None) -> str:
    """A value of a problem with four significant digits, which is what people compare by."""
    if number is None:
        return NOTHING
    return f"{number:#.4g}".rstrip(".") if math.isfinite(number) else "none yet"


def evaluations(number: float | None, budget: int) -> str:
    """A number of evaluations, `> budget` where the target was not reached in half the runs."""
    if number is None:
        return NOTHING
    return f"{number:g}" if math.isfinite(number) else f"> {budget}"


def seconds(number: float) -> str:
    """Seconds with two significant digits, never in scientific notation."""
    return f"{number:.2g}" if number < 10 else f"{number:.0f}"


def interval(of: Interval, sign: bool = False) -> str:
    """An estimate and its interval; with signs where it is a difference."""
    form = "+.2f" if sign else ".2f"
    return f"{of.value:{form}} ({of.low:{form}} to {of.high:{form}})"


def enumeration(words: Sequence[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"


def with_best(numbers: Sequence[float | None], texts: Sequence[str]) -> list[str]:
    """The texts, in bold those of the lowest number; what reads the same counts as the same."""
    known = [(number, text) for number, text in zip(numbers, texts, strict=True) if number is not None]
    best = min(known)[1] if known and math.isfinite(min(known)[0]) else None
    return [f"**{text}**" if text == best else text for text in texts]
