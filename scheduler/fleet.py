"""The devices as the scheduler sees them: what was said of them, what was found, and whether a trial may start there.

Pure, like the study: events and readings go in, standings come out. What must survive a restart is an event and is
journalled (quarantines, drains, returns and limits); what the next reading tells anew is not.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.events import DeviceDrained, DeviceEvent, DeviceQuarantined, DeviceReturned, DevicesLimited
from cnnbo.scheduler.occupancy import Stranger
from cnnbo.scheduler.sharing import NO_LIMITS, Sharing, Yield


class DeviceState(StrEnum):
    """What a device is up to."""

    IDLE = "idle"
    BUSY = "busy"
    FOREIGN = "foreign"
    DRAINED = "drained"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a device found, as far as it decides whether a trial may start there.

    Attributes:
        fault: why no trial can run there now, as a sentence; None while it answers well.
        is_broken: whether the fault is of the device itself, which a driver that answers again doesn't mend.
        stranger: somebody else who uses it.
        slowdown: why its hardware runs slower than it could; None while it doesn't.
    """

    fault: str | None = None
    is_broken: bool = False
    stranger: Stranger | None = None
    slowdown: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A device's state with the reason; an idle one with a reason gets no trial either."""

    state: DeviceState
    reason: str | None = None

    @property
    def is_startable(self) -> bool:
        """Whether a trial may start there."""
        return self.state is DeviceState.IDLE and self.reason is None


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time.

    Attributes:
        at: seconds since the epoch.
        minute: minutes since midnight in the local time of the box.
    """

    at: float
    minute: int


class Fleet:
    """All devices of a box, known or not: one nobody has said anything about is well.

    Args:
        sharing: the box's own limits; those of a study are the allocator's.
        slow_patience_s: a device whose hardware slows itself down for longer than this gets no new trial, in seconds.
    """

    def __init__(self, sharing: Sharing = NO_LIMITS, slow_patience_s: float = 300.0) -> None:
        self._sharing = sharing
        self._slow_patience_s = slow_patience_s
        self._readings: Mapping[str, Reading] = {}
        self._orders: dict[str, DeviceQuarantined | DeviceDrained] = {}
        self._returned: dict[str, float] = {}
        self._slow_since: dict[str, float] = {}
        self._resting: dict[str, tuple[float, float]] = {}  # from when until when
        self._halt: str | None = None
        self._limit: DevicesLimited | None = None

    def take_limits(self, sharing: Sharing, slow_patience_s: float) -> None:
        """Go by other limits of the box from now on; see the class."""
        self._sharing = sharing
        self._slow_patience_s = slow_patience_s

    @property
    def returned(self) -> Mapping[str, float]:
        """When each device was last returned by somebody, in seconds since the epoch."""
        return self._returned

    @property
    def limit(self) -> int | None:
        """At most so many devices were to be used at a time, as somebody said last; None = all of them."""
        return None if self._limit is None else self._limit.max_devices

    # -- facts --------------------------------------------------------------------------------------------------------

    def check(self, event: DeviceEvent) -> None:
        """Refuse an order that can't be carried out; changes nothing.

        Raises:
            RequestError: the device is in that state already, or is still broken.
        """
        match event:
            case DeviceDrained():
                order = self._orders.get(event.device)
                if isinstance(order, DeviceDrained):
                    raise RequestError(f"device {event.device} is drained already ({order.reason}).")
                if order is not None:
                    raise RequestError(f"device {event.device} is quarantined and gets no trial ({order.reason}).")
            case DeviceReturned():
                reading = self._readings.get(event.device, Reading())
                if reading.fault is not None:
                    raise RequestError(f"device {event.device} is still out of order: {reading.fault}")
                if event.device not in self._orders:
                    raise RequestError(f"device {event.device} is neither drained nor quarantined; it is in use.")
            case DeviceQuarantined() | DevicesLimited():
                pass  # a second reason for the same is no mistake, nor is the same limit again
            case _ as unreachable:
                assert_never(unreachable)

    def handle(self, event: DeviceEvent) -> None:
        """Take in a checked event."""
        match event:
            case DeviceQuarantined() | DeviceDrained():
                self._orders[event.device] = event
            case DeviceReturned():
                self._orders.pop(event.device, None)
                self._returned[event.device] = event.at
            case DevicesLimited():
                self._limit = event
            case _ as unreachable:
                assert_never(unreachable)

    def take(self, at: float, readings: Mapping[str, Reading]) -> list[DeviceQuarantined]:
        """Take in a reading of every device.

        Returns:
            what follows and is to be journalled: devices found broken that nobody had heard of.
        """
        self._readings = readings
        slow = {device: reading for device, reading in readings.items() if reading.slowdown is not None}
        self._slow_since = {device: self._slow_since.get(device, at) for device in slow}
        broken = {device: reading.fault for device, reading in readings.items() if reading.is_broken}
        return [
            DeviceQuarantined(at, device, fault.rstrip("."))
            for device, fault in broken.items()
            if fault is not None and not self.is_quarantined(device)
        ]

    def rest(self, device: str, at: float, until: float) -> None:
        """A trial could not be started there: the device gets none from `at` until then, in seconds since the epoch."""
        self._resting[device] = at, until

    def halt(self, reason: str | None) -> None:
        """Start nothing anywhere for a reason like a full disk; None ends that, and any rest that it led to."""
        if reason is None and self._halt is not None:
            self._resting.clear()
        self._halt = reason

    # -- what follows -------------------------------------------------------------------------------------------------

    def is_quarantined(self, device: str) -> bool:
        """Whether somebody must return the device before it is used again."""
        return isinstance(self._orders.get(device), DeviceQuarantined)

    def has_stranger(self, device: str) -> bool:
        """Whether somebody else uses a device."""
        return self._readings.get(device, Reading()).stranger is not None

    def standing(self, device: str, busy: Collection[str], moment: Moment) -> Standing:
        """How a device stands.

        Args:
            device: its UUID.
            busy: the devices with a trial of ours.
            moment: now.
        """
        order, reading = self._orders.get(device), self._readings.get(device, Reading())
        if isinstance(order, DeviceQuarantined):
            return Standing(DeviceState.QUARANTINED, order.reason)
        if reading.fault is not None:
            return Standing(DeviceState.QUARANTINED, reading.fault)
        if isinstance(order, DeviceDrained):
            return Standing(DeviceState.DRAINED, order.reason)
        stranger = None if reading.stranger is None else reading.stranger.reason
        if device in busy:  # a stranger beside a trial of ours is told of, and nothing more starts there
            return Standing(DeviceState.BUSY, stranger)
        if stranger is not None:
            return Standing(DeviceState.FOREIGN, stranger)
        return Standing(DeviceState.IDLE, self._why_not(device, reading, moment))

    def startable(self, devices: Iterable[str], busy: Collection[str], moment: Moment) -> list[str]:
        """Those of `devices` on which trials may start now, in that order, as many as the stricter limit allows.

        The limits are the one of the settings and the one that somebody gave (`DevicesLimited`).
        """
        free = [device for device in devices if self.standing(device, busy, moment).is_startable]
        limits = [limit for limit in (self._sharing.max_devices, self.limit) if limit is not None]
        return free[: max(0, min(limits) - len(busy))] if limits else free

    def must_yield(self, device: str, study: Yield) -> str | None:
        """Why the trial on a device must be stopped for somebody else's sake; None if it goes on.

        Args:
            device: its UUID.
            study: what the trial's study says; the stricter of it and the box's own setting counts.
        """
        stranger = self._readings.get(device, Reading()).stranger
        is_asked = Yield.STOP in (study, self._sharing.yields)
        return stranger.reason if stranger is not None and stranger.is_known and is_asked else None

    def _why_not(self, device: str, reading: Reading, moment: Moment) -> str | None:
        """Why nothing starts on a device that is well and free, or None.

        That the box's limit is reached is no reason of this device's: it may be the next one that is used. A limit of
        none at all is.
        """
        if self._halt is not None:
            return self._halt
        if self._limit is not None and self._limit.max_devices == 0:
            by = f" ({self._limit.reason})" if self._limit.reason else ""
            return f"no device may be used{by}; lift that: cnnbo limit none"
        hours = self._sharing.hours
        if hours is not None and not hours.hold(moment.minute):
            return f"trials start from {hours} only"
        since = self._slow_since.get(device)
        if since is not None and moment.at - since >= self._slow_patience_s:
            return f"it slows itself down: {reading.slowdown}; trials start when it has recovered"
        begun, until = self._resting.get(device, (moment.at, moment.at))
        if begun <= moment.at < until:  # a clock that was set back ends a rest, too
            return "a trial could not be started here a moment ago; another is tried soon"
        return None
