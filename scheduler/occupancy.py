"""Whether somebody else uses a device: a pure function of who is on it."""

from collections.abc import Sequence
from dataclasses import dataclass

_MIB_PER_GB = 1024


@dataclass(frozen=True, slots=True)
class DeviceUser:
    """A process on a device, and whose it is.

    Attributes:
        pid: as the driver says it.
        owner: name of the user it runs as; None where this box doesn't know the process (in a container the driver
            names pids of the host).
        command: its command line, shortened; None where unknown.
        memory_used_mib: device memory it holds, in MiB; None where the driver doesn't say.
        is_compute: whether it computes; a desktop only draws.
        is_ours: whether a trial of this daemon started it.
    """

    pid: int
    owner: str | None = None
    command: str | None = None
    memory_used_mib: float | None = None
    is_compute: bool = True
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody else who uses a device.

    Attributes:
        reason: who and what, as people read it.
        is_known: whether it is a process of this box. One that isn't may be our own trial under another number, as in a
            container, so nothing of ours may be stopped because of it.
    """

    reason: str
    is_known: bool = False


def find_stranger(users: Sequence[DeviceUser], unnamed_mib: float | None, idle_mib: float) -> Stranger | None:
    """Who else uses a device; None where nobody does.

    A process that computes and isn't ours makes a device foreign, one that nobody knows as well. What only draws (a
    desktop) does not by itself: with it the device of a workstation would never be used. Memory that no process of ours
    and no named stranger explains does from `idle_mib` on: in containers the driver may name nobody.

    Args:
        users: who is on the device, as far as the driver says.
        unnamed_mib: memory in use on a device without a trial of ours, in MiB; None where unknown or ours.
        idle_mib: so much may be in use on an idle device, in MiB.
    """
    strangers = [user for user in users if user.is_compute and not user.is_ours]
    if strangers:
        # The one that holds most is the one to talk to about it.
        first = max(strangers, key=lambda user: (user.memory_used_mib or 0.0, -user.pid))
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        is_known = any(user.owner is not None for user in strangers)
        return Stranger(f"{_described(first)}{more}", is_known)
    if unnamed_mib is not None and unnamed_mib > idle_mib:
        return Stranger(f"{_gigabytes(unnamed_mib)} in use, by nobody the driver names")
    return None


def _described(user: DeviceUser) -> str:
    """`alice: python train.py (pid 41277, 9.1 GB)`."""
    facts = [f"pid {user.pid}"]
    if user.memory_used_mib is not None:
        facts.append(_gigabytes(user.memory_used_mib))
    what = f": {user.command}" if user.command else ""
    return f"{user.owner or 'a process this box does not know'}{what} ({', '.join(facts)})"


def _gigabytes(mib: float) -> str:
    return f"{mib / _MIB_PER_GB:.1f} GB"
