"""Reads fields of messages; one that is missing, or of the wrong type, is None or empty."""

import math
from collections.abc import Mapping
from datetime import datetime

Body = Mapping[str, object]


def number_of(body: Body, key: str) -> float | None:
    value = body.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def whole_of(body: Body, key: str) -> int | None:
    number = number_of(body, key)
    return None if number is None else int(number)


def text_of(body: Body, key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def object_of(body: Body, key: str) -> Body:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def moment_of(body: Body, key: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch."""
    try:
        return datetime.fromisoformat(text_of(body, key) or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def texts_of(body: Body, key: str) -> tuple[str, ...]:
    """A list as texts."""
    value = body.get(key)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def numbered(body: Body, key: str) -> tuple[int, ...]:
    """Ids that stand in a list, nothing else that does."""
    items = body.get(key)
    return tuple(item for item in items if type(item) is int) if isinstance(items, list) else ()


def objects_of(body: Body, key: str) -> list[Body]:
    """The objects in a list."""
    value = body.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def numbers_of(body: Body, key: str) -> dict[str, float]:
    """The finite numbers of an object, by name."""
    found = object_of(body, key)
    return {name: number for name in found if (number := number_of(found, name)) is not None}
