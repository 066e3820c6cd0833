"""Tells systemd in a line what the devices are up to: the line `Status:` of `systemctl status`."""

import asyncio
import re
from collections import Counter
from collections.abc import Collection, Mapping

from cnnbo.daemon.sinks.base import Message
from cnnbo.daemon.systemd import tell

PAUSE_S = 1.0
"""At most one line is told in so many seconds."""

_ORDER = ("training", "evaluating", "compiling", "loading", "starting", "held", "waiting", "idle", "drained")


class SystemdSink:
    """Keeps the status line true, from the news of devices and studies."""

    def __init__(self) -> None:
        self._devices: dict[str, Mapping[str, object]] = {}
        self._running: set[str] = set()
        self._has_changed = asyncio.Event()

    def publish(self, message: Message) -> None:
        """Take in how a device or a study is now; everything else is passed over."""
        kind, _, name = message.topic.partition("/")
        if kind == "device":
            self._devices.pop(name, None)
            if message.body is not None:
                self._devices[name] = message.body
        elif kind == "study" and "/" not in name:
            self._running.discard(name)
            if message.body is not None and message.body.get("state") == "running":
                self._running.add(name)
        else:
            return
        self._has_changed.set()

    async def run(self) -> None:
        """Tell each new line until cancelled."""
        told = ""
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            line = status_line(self._devices.values(), has_study=bool(self._running))
            if line != told:
                await tell(f"STATUS={line}")
                told = line
            await asyncio.sleep(PAUSE_S)


def status_line(devices: Collection[Mapping[str, object]], has_study: bool) -> str:
    """What the devices are up to, in a line.

    Args:
        devices: as their topics tell of them.
        has_study: whether a study runs.

    Example:
        >>> alice = {"state": "foreign", "reason": "alice: python train.py (pid 41277, 9.1 GB)"}
        >>> training = {"state": "busy", "phase": "training"}
        >>> status_line([training, alice, {"state": "drained"}, training], has_study=True)
        '2 training, 1 held by alice, 1 drained'
        >>> status_line([{"state": "idle", "reason": None}, alice], has_study=False)
        'idle: no study runs (1 held by alice)'
    """
    counts = Counter(_doing(device, has_study) for device in devices)
    is_resting = not has_study and "idle" in counts and all(device.get("state") != "busy" for device in devices)
    if is_resting:
        del counts["idle"]
    groups = ", ".join(f"{counts[doing]} {doing}" for doing in sorted(counts, key=_place))
    if is_resting:
        return f"idle: no study runs ({groups})" if groups else "idle: no study runs"
    return groups or "no devices"


def _doing(device: Mapping[str, object], has_study: bool) -> str:
    """What a device is up to, in the words of the line."""
    state, reason = str(device.get("state")), device.get("reason")
    if state == "busy":
        return str(device.get("phase") or "training")
    if state == "foreign":
        return f"held by {_holder(str(reason))}"
    if state == "idle" and has_study:
        return f"idle: {reason}" if reason else "waiting"
    return state


def _holder(reason: str) -> str:
    """Whom a reason names, like `alice: python train.py (pid 41277)`, or `in use by another cnnbo (lease …)`."""
    if "another cnnbo" in reason:
        return "another cnnbo"
    named = re.match(r"([^\s:(]+)(?:: | \()", reason)
    return named[1] if named else "somebody unknown"


def _place(doing: str) -> tuple[int, str]:
    """Trials first, then who holds what, then what is at rest or out of use."""
    word = re.split("[ :]", doing)[0]
    return (_ORDER.index(word) if word in _ORDER else len(_ORDER), doing)
