"""Whether a study makes sense: what a study file can't say, another client might."""

import math
import re
from collections.abc import Iterator

from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.spec import StudySpec

_SECONDS = (1e-9, 1e10)
_MEBIBYTES = (1.0, 1e10)
_AMOUNT = (1e-300, 1e300)


def nonsense_in(spec: StudySpec) -> str | None:
    """What about a study would come up later, when nobody is there to be told: the first such thing, or None."""
    return next(_nonsense(spec), None)


def _nonsense(spec: StudySpec) -> Iterator[str]:
    ranges: dict[str, tuple[float | None, float, float]] = {
        "evaluations": (spec.evaluations, 1, 1_000_000),
        "seed": (spec.seed, 0, 2**32 - 1),
        "initial": (spec.initial, 0, 1_000_000),
        "repeats": (spec.repeats, 1, 1_000_000),
        "devices.max": (spec.max_devices, 1, 10_000),
        "trial.epochs": (spec.trial.epochs, 1, 1_000_000),
        "trial.batch_size": (spec.trial.batch_size, 1, 10_000_000),
        "trial.images": (spec.trial.images, 1, 1_000_000_000),
        "trial.timeout": (spec.trial.timeout_s, *_SECONDS),
        "trial.memory": (spec.trial.memory_mib, *_MEBIBYTES),
        "budget.wall_clock": (spec.budget.wall_clock_s, *_SECONDS),
        "budget.cost": (spec.budget.cost, *_AMOUNT),
        "budget.energy_kwh": (spec.budget.energy_kwh, *_AMOUNT),
        "budget.price_per_device_hour": (spec.budget.price_per_device_hour, 0, 1e300),
    }
    for key, (number, low, high) in ranges.items():
        if number is not None and not low <= number <= high:
            yield f"{key} must be from {low:g} to {high:g}"
    if (spec.model is None) == (not spec.command):
        yield "it needs either a model or a command"
    if spec.command and not spec.command[0]:
        yield "its command names no program"
    if spec.report.pattern is not None and not _is_pattern(spec.report.pattern):
        yield f"report.pattern {spec.report.pattern!r} is no regular expression"
    if spec.report.chance is not None and not math.isfinite(spec.report.chance):
        yield f"report.chance must be a number that others can be compared with, not {spec.report.chance}"
    if spec.report.chance is not None and spec.model is not None:
        yield f"report.chance is for commands; {spec.model} says by itself what luck explains"
    if any(not name or "=" in name for name in spec.origin.environment):
        yield "a variable of its environment has no name"
    if not all(map(_can_be_handed_on, _texts(encode_value(spec)))):
        yield "it holds a null character or half a surrogate pair"


def _is_pattern(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _texts(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(data, list):
        for item in data:
            yield from _texts(item)


def _can_be_handed_on(text: str) -> bool:
    """Whether a program can be given it: file names that are no UTF-8 can, in Python's way of writing them."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
