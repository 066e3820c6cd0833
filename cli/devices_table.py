"""Devices as a table for people; scripts take `--json`."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from cnnbo.cli.output import device_label

_STATE_STYLES: Mapping[str, str] = {
    "busy": "green",
    "foreign": "yellow",
    "drained": "dim",
    "quarantined": "bold red",
}


def devices_table(devices: Sequence[Mapping[str, object]]) -> Table:
    """A table with one row per device.

    Args:
        devices: the objects of `devices --json`, in the order of the rows; what is unknown is None.

    Example:
        >>> from rich.console import Console
        >>> idle = {"uuid": "GPU-8f6e", "index": 0, "name": "NVIDIA H100", "state": "idle", "reason": None,
        ...         "memory_used_mib": 512.0, "memory_total_mib": 81559.0, "utilisation_percent": 0.0,
        ...         "temperature_c": 35.0, "power_w": None, "study": None, "trial": None}
        >>> busy = idle | {"index": 1, "state": "busy", "study": "svhn", "trial": 17, "power_w": 312.4}
        >>> Console(width=100).print(devices_table([idle, busy]))  # doctest: +NORMALIZE_WHITESPACE
        device  name         state  doing     util        memory  temp  power  UUID
        gpu0    NVIDIA H100  idle               0%  0.5/79.6 GiB  35°C      -  GPU-8f6e
        gpu1    NVIDIA H100  busy   svhn #17    0%  0.5/79.6 GiB  35°C  312 W  GPU-8f6e
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("device", "name", "state", "doing"):
        table.add_column(heading)
    for heading in ("util", "memory", "temp", "power"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("UUID", no_wrap=True, overflow="ellipsis")
    for device in devices:
        table.add_row(*_cells(device))
    return table


def _cells(device: Mapping[str, object]) -> list[Text | str]:
    state = str(device["state"])
    return [
        device_label(device),
        Text(str(device["name"])),  # as text, since names may hold the brackets of Rich's markup
        Text(state, _STATE_STYLES.get(state, "")),
        Text(_doing(device)),
        _figure(device["utilisation_percent"], "%"),
        _memory(device["memory_used_mib"], device["memory_total_mib"]),
        _figure(device["temperature_c"], "°C"),
        _figure(device["power_w"], " W"),
        Text(str(device["uuid"])),
    ]


def _doing(device: Mapping[str, object]) -> str:
    reason = str(device["reason"] or "")
    if device["study"] is None:
        return reason
    return f"{device['study']} #{device['trial']}{f', beside {reason}' if reason else ''}"


def _figure(value: object, unit: str) -> str:
    return f"{value:.0f}{unit}" if isinstance(value, int | float) else "-"


def _memory(used: object, total: object) -> str:
    if not isinstance(total, int | float):
        return "-"
    taken = f"{used / 1024:.1f}" if isinstance(used, int | float) else "-"
    return f"{taken}/{total / 1024:.1f} GiB"
