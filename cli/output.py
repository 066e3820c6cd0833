"""How facts are written for people: durations, values, tables; and JSON for scripts."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_json(data: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=2, allow_nan=False))


def duration(seconds: float | None) -> str:
    """A duration as people say it: `11s`, `2m41s`, `1h12m`, `3d04h`; `-` where unknown.

    >>> [duration(s) for s in (0.62, 11.4, 161, 4320, 273600, None)]
    ['0.6s', '11s', '2m41s', '1h12m', '3d04h', '-']
    """
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def spent(study: Mapping[str, Any]) -> str:
    """What a study has used, as far as it is known: time, energy, money.

    Example:
        >>> spent({"spent_s": 2040.0, "energy_kwh": 0.684, "cost": 4.42})
        '34m00s, 0.684 kWh, cost 4.42'
    """
    parts = [duration(study["spent_s"])]
    if study["energy_kwh"] is not None:
        parts.append(f"{study['energy_kwh']:.3g} kWh")
    if study["cost"] is not None:
        parts.append(f"cost {study['cost']:.2f}")
    return ", ".join(parts)


def ends(study: Mapping[str, Any]) -> dict[str, int]:
    """How many finished trials of a study or a comparison came to what, by the words of all screens; together all.

    Crashes that nobody has decided about are undecided, not failed.

    Example:
        >>> ends({"finished": 40, "at_chance": 30, "failed": 4, "undecided": [1, 2, 3]})
        {'with a value': 6, 'at chance': 30, 'failed': 1, 'undecided': 3}
    """
    # A daemon of an earlier version tells neither of the two.
    at_chance = study.get("at_chance") or 0
    undecided = sum(len(part.get("undecided") or ()) for part in study.get("studies", [study]))
    finished, failed = study["finished"], study["failed"]
    return {
        "with a value": finished - failed - at_chance,
        "at chance": at_chance,
        "failed": failed - undecided,
        "undecided": undecided,
    }


def tally(study: Mapping[str, Any]) -> str:
    """What the finished trials of a study or a comparison came to.

    Example:
        >>> tally({"finished": 40, "at_chance": 30, "failed": 4, "undecided": [1, 2, 3]})
        '40 trials: 6 with a value, 30 at chance, 1 failed, 3 undecided'
        >>> tally({"finished": 40, "at_chance": 0, "failed": 1, "undecided": []})
        '40 trials, 1 failed'
    """
    counts = ends(study)
    if not counts["at chance"] and not counts["undecided"]:
        return f"{study['finished']} trials, {counts['failed']} failed"
    told = [f"{count} {kind}" for kind, count in counts.items() if count or kind in ("with a value", "failed")]
    return f"{study['finished']} trials: {', '.join(told)}"


def without_value(study: Mapping[str, Any], classes: str = "") -> str:
    """How many finished trials learnt nothing or failed, as the end of a list of counts.

    Args:
        study: of it, or of a comparison.
        classes: what stands behind the number of those that failed.

    Example:
        >>> without_value({"finished": 40, "at_chance": 30, "failed": 3, "undecided": [1, 2, 3]})
        ', 30 at chance, 0 failed, 3 undecided'
    """
    kinds = {"at chance": "", "failed": classes, "undecided": ""}
    told = ends(study)
    return "".join(f", {told[kind]} {kind}{more}" for kind, more in kinds.items() if told[kind] or kind == "failed")


def failure_classes(study: Mapping[str, Any]) -> str:
    """How many trials failed by class, without those that are undecided, in brackets; empty without any.

    Example:
        >>> failure_classes({"finished": 5, "failed": 5, "failures": {"crashed": 5}, "undecided": [1, 2, 3]})
        ' (2 crashed)'
    """
    undecided = ends(study)["undecided"]
    counts = {name: count - undecided * (name == "crashed") for name, count in study["failures"].items()}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f" ({told})" if told else ""


def is_only_chance(study: Mapping[str, Any]) -> bool:
    """Whether a study has values, all of which are at chance."""
    at_chance = study.get("at_chance") or 0
    return at_chance > 0 and at_chance == study["finished"] - study["failed"]


def luck_warning(name: str) -> str:
    """Return what to say next to the best of a study whose every value is at chance."""
    return f"no trial of {name} is better than chance, so its best is as good as any; see cnnbo show {name}"


def times(count: int) -> str:
    """How often something happened, like "1 time"."""
    return f"{count} time{'' if count == 1 else 's'}"


def trials_named(ids: Sequence[int]) -> str:
    """Trials by their numbers, at least one: `trial 3`, `trials 1, 2, 3`."""
    return f"trial{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"


def run_again(ids: Sequence[int]) -> str:
    """Which trials run again by themselves, at least one, and why.

    Example:
        >>> run_again([1, 2, 3])
        'trials 1, 2, 3 run again: equal crashes, which had paused the study, are held against no configuration'
    """
    what = "equal crashes, which had paused the study, are held against no configuration"
    return f"{trials_named(ids)} run{'s' if len(ids) == 1 else ''} again: {what}"


def value(number: float | None) -> str:
    """A metric in at most six significant digits; `-` where there is none."""
    return "-" if number is None else f"{number:.6g}"


def scalar(item: object) -> str:
    """A parameter's value, short.

    >>> [scalar(x) for x in (0.0016349, 5, "avg", True, 0.93)]
    ['0.00163', '5', 'avg', 'true', '0.93']
    """
    if isinstance(item, bool):
        return str(item).lower()
    return f"{item:.3g}" if isinstance(item, float) else str(item)


def configuration(values: Mapping[str, object]) -> str:
    """A configuration on one line: `name=value name=value`."""
    return " ".join(f"{name}={scalar(item)}" for name, item in values.items())


def local_time(text: str | None) -> str:
    """An RFC 3339 time as HH:MM:SS of this machine's clock; `-` where unknown."""
    return "-" if text is None else f"{datetime.fromisoformat(text).astimezone():%H:%M:%S}"


def age(text: str) -> str:
    """How long ago an RFC 3339 time was; a clock that is ahead counts as now."""
    return duration(max(0.0, time.time() - datetime.fromisoformat(text).timestamp()))


def device_label(device: Mapping[str, Any]) -> str:
    """What people call a device: `gpu0`, `cpu-1`."""
    uuid = str(device["uuid"])
    return uuid if uuid.startswith("cpu-") else f"gpu{device['index']}"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Columns as wide as they need; a terminal's width is kept, a file's or pipe's is endless."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    on_the_right = set(right)
    for index, title in enumerate(header):
        justify: Any = "right" if index in on_the_right else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    print_wide(table)


def print_wide(renderable: "RenderableType") -> None:
    """Print for a terminal of its width, or for a file or pipe in full."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    Console(highlight=False, markup=False, width=None if is_terminal else 1000).print(renderable, crop=is_terminal)
