"""What is told of the devices: their objects and topics, and the timeline of what each was up to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbo.daemon import messages
from cnnbo.daemon.devices.base import Device, Sample
from cnnbo.daemon.executors.base import Phase
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.scheduler.fleet import DeviceState, Fleet, Moment, Standing

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import DeviceObject

OFF = "off"
"""The activity of a device while no daemon watches it."""

TELL_S = 10.0
"""A device is told anew at its first reading so long after the last time, changed or not: silence then means that
nobody reads it, and whoever listens can say how old its figures are."""

MOST_PHASES = 100
"""Each change of a phase is a row in the journal; a script that changes it more often than that has said enough."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """The trial on a device.

    Attributes:
        study, trial: which one.
        first_phase: what it is doing as long as it says nothing of that.
    """

    study: str
    trial: int
    first_phase: Phase = "starting"


Occupants = Mapping[str, Occupant]
"""Trials by the UUID of the device they are on."""


@dataclass(frozen=True, slots=True)
class Activity:
    """From now on a device is up to this.

    Attributes:
        at: seconds since the epoch.
        device: its UUID.
        activity: `idle`, `foreign`, `drained`, `quarantined` or `off`; with a trial on it what the trial does:
            `starting`, `loading`, `compiling`, `training` or `evaluating`.
        reason: why it is idle, or out of use; None where a trial runs.
        study, trial: what runs there, or None.
    """

    at: float
    device: str
    activity: str
    reason: str | None = None
    study: str | None = None
    trial: int | None = None


class DeviceBoard:
    """Knows the devices and how they are; tells what has changed.

    Args:
        fleet: says how each device stands.
        moment: now.
    """

    def __init__(self, fleet: Fleet, moment: Callable[[], Moment]) -> None:
        self._fleet = fleet
        self._moment = moment
        self._devices: dict[str, Device] = {}
        self._samples: Mapping[str, Sample] = {}
        self._since: dict[str, tuple[DeviceState, float]] = {}
        self._phases: dict[str, Phase] = {}
        self._phase_changes: dict[str, int] = {}
        self._shown: dict[str, Mapping[str, object]] = {}
        self._shown_at: dict[str, float] = {}
        self._activities: dict[str, Activity] = {}
        self._unsaved: list[Activity] = []

    @property
    def devices(self) -> Mapping[str, Device]:
        """The devices of this box by UUID, by rising index."""
        return self._devices

    def take_devices(self, devices: Iterable[Device]) -> list[Message]:
        """Learn which devices there are; returns what clears the topics of those that are gone."""
        self._devices = {device.uuid: device for device in devices}
        gone = self._shown.keys() - self._devices.keys()
        for uuid in gone:
            self._unsaved.append(Activity(self._moment().at, uuid, OFF))
            for known in (
                self._shown,
                self._shown_at,
                self._since,
                self._activities,
                self._phases,
                self._phase_changes,
            ):
                known.pop(uuid, None)
        return [Message(f"device/{uuid}", None, messages.DEVICE_SCHEMA, Delivery.STATE) for uuid in sorted(gone)]

    def take_samples(self, samples: Mapping[str, Sample]) -> None:
        """Learn how the devices are."""
        self._samples = samples

    def take_phase(self, device: str, phase: Phase) -> bool:
        """Learn what the trial on a device is doing; returns whether that is news, `MOST_PHASES` times in a trial."""
        count = self._phase_changes.get(device, 0)
        if self._phases.get(device) == phase or count >= MOST_PHASES:
            return False
        self._phases[device], self._phase_changes[device] = phase, count + 1
        return True

    def objects(self, occupants: Occupants) -> list["DeviceObject"]:
        """Every device as `devices --json` shows it."""
        return [self._object(device, occupants) for device in self._devices.values()]

    def _standing(self, uuid: str, occupants: Occupants) -> Standing:
        return self._fleet.standing(uuid, occupants.keys(), self._moment())

    def _object(self, device: Device, occupants: Occupants) -> "DeviceObject":
        uuid = device.uuid
        standing = self._standing(uuid, occupants)
        _, since = self._since.get(uuid, (None, None))
        sample = self._samples.get(uuid, Sample())
        if (occupant := occupants.get(uuid)) is None:
            return messages.device_object(device, sample, standing.state, standing.reason, None, since)
        trial, phase = (occupant.study, occupant.trial), self._phases.get(uuid, occupant.first_phase)
        return messages.device_object(device, sample, standing.state, standing.reason, trial, since, phase)

    def update(self, occupants: Occupants, why_idle: str) -> list[Message]:
        """Note what has changed since the last time; returns the topics to be told anew.

        After `TELL_S` that is every one of them.

        Args:
            occupants: which trial is on which device.
            why_idle: why a device that could start a trial has none.
        """
        for uuid in self._devices:
            self._note(uuid, occupants, why_idle)
        told = []
        for body in self.objects(occupants):
            uuid, at = body["uuid"], self._moment().at
            # Both ways, for a clock may be set back.
            if self._shown.get(uuid) != body or abs(at - self._shown_at[uuid]) >= TELL_S:
                self._shown[uuid], self._shown_at[uuid] = body, at
                told.append(Message(f"device/{uuid}", body, messages.DEVICE_SCHEMA, Delivery.STATE))
        return told

    def forget_shown(self) -> None:
        """Have all devices told anew at the next update."""
        self._shown.clear()

    def _note(self, uuid: str, occupants: Occupants, why_idle: str) -> None:
        standing, at = self._standing(uuid, occupants), self._moment().at
        if uuid not in self._since or self._since[uuid][0] is not standing.state:
            self._since[uuid] = standing.state, at
        if uuid not in occupants:
            self._phases.pop(uuid, None)
            self._phase_changes.pop(uuid, None)
            idle = standing.reason or why_idle if standing.state is DeviceState.IDLE else standing.reason
            activity = Activity(at, uuid, standing.state, idle)
        else:
            occupant = occupants[uuid]
            phase = self._phases.get(uuid, occupant.first_phase)
            activity = Activity(at, uuid, phase, None, occupant.study, occupant.trial)
        self._begin(activity)

    def _begin(self, activity: Activity) -> None:
        last = self._activities.get(activity.device)
        if last is None or _sameness(last) != _sameness(activity):
            self._activities[activity.device] = activity
            self._unsaved.append(activity)

    def end_all(self) -> None:
        """The daemon stops: nobody watches from now on."""
        for uuid in self._devices:
            self._begin(Activity(self._moment().at, uuid, OFF))

    @property
    def unsaved(self) -> list[Activity]:
        """What the journal doesn't hold yet, oldest first."""
        return list(self._unsaved)

    def forget_saved(self, count: int) -> None:
        """The journal holds so many of the oldest now."""
        del self._unsaved[:count]


def _sameness(activity: Activity) -> tuple[object, ...]:
    # A stranger's figures change with every reading; why a device is idle is worth a line each time.
    reason = activity.reason if activity.activity == DeviceState.IDLE else None
    return activity.activity, reason, activity.study, activity.trial
