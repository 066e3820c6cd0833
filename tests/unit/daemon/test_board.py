"""What is told of the devices, and their timeline."""

from cnnbo.daemon.board import Activity, DeviceBoard, Occupant
from cnnbo.daemon.devices.base import Device, DeviceKind, Sample
from cnnbo.scheduler.events import DeviceDrained
from cnnbo.scheduler.fleet import Fleet, Moment, Reading
from cnnbo.scheduler.occupancy import Stranger

DEVICES = [Device(uuid, k, "Fake", DeviceKind.FAKE) for k, uuid in enumerate("ab")]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> Moment:
        return Moment(self.at, 0)


def board() -> tuple[DeviceBoard, Fleet, Clock]:
    fleet, clock = Fleet(), Clock()
    made = DeviceBoard(fleet, clock)
    made.take_devices(DEVICES)
    return made, fleet, clock


def test_only_what_changed_is_told() -> None:
    """Home automation drowns in repetitions."""
    made, _, _ = board()
    assert [message.topic for message in made.update({}, "no trial to run")] == ["device/a", "device/b"]
    assert made.update({}, "no trial to run") == []
    made.take_samples({"a": Sample(power_w=20.0), "b": Sample()})
    assert [message.topic for message in made.update({}, "no trial to run")] == ["device/a"]


def test_an_unchanged_device_is_told_again_after_ten_seconds() -> None:
    """Who listens can't tell a device that idles from a daemon that hangs, as long as both say nothing."""
    made, _, clock = board()
    made.update({}, "no trial to run")
    clock.at += 9.0
    assert made.update({}, "no trial to run") == []
    clock.at += 1.0
    assert [message.topic for message in made.update({}, "no trial to run")] == ["device/a", "device/b"]
    clock.at -= 3600.0
    assert [message.topic for message in made.update({}, "no trial to run")] == ["device/a", "device/b"]


def test_a_device_tells_since_when_it_is_in_its_state() -> None:
    """How long a colleague has been there is half of the story."""
    made, fleet, clock = board()
    made.update({}, "no trial to run")
    clock.at = 160.0
    fleet.handle(DeviceDrained(160.0, "a", "drained by bob"))
    made.update({}, "no trial to run")
    shown = {str(device["uuid"]): device for device in made.objects({})}
    assert (shown["a"]["state"], shown["a"]["since"]) == ("drained", "1970-01-01T00:02:40.000Z")
    assert shown["b"]["since"] == "1970-01-01T00:01:40.000Z"


def test_a_device_that_is_gone_leaves_no_topic() -> None:
    """A retained topic would show a MIG instance for ever that was dissolved."""
    made, _, _ = board()
    made.update({}, "no trial to run")
    [cleared] = made.take_devices(DEVICES[:1])
    assert (cleared.topic, cleared.body) == ("device/b", None)
    assert made.unsaved[-1] == Activity(100.0, "b", "off")


def test_the_timeline_says_what_a_device_was_up_to_and_why_it_was_idle() -> None:
    """Where the time goes is what a report on costs is made of."""
    made, fleet, clock = board()
    made.take_devices(DEVICES[:1])
    made.forget_saved(len(made.unsaved))

    def update(at: float, why_idle: str = "no trial to run", **occupants: Occupant) -> None:
        clock.at = at
        made.update(occupants, why_idle)

    update(100.0)
    update(110.0, "waits for a proposal")
    update(111.0, a=Occupant("s", 7))
    assert made.take_phase("a", "training") is True
    assert made.take_phase("a", "training") is False
    update(115.0, a=Occupant("s", 7))
    update(118.0, a=Occupant("s", 7))
    fleet.take(120.0, {"a": Reading(stranger=Stranger("alice (pid 7, 1.0 GB)"))})
    update(120.0)
    fleet.take(122.0, {"a": Reading(stranger=Stranger("alice (pid 7, 2.0 GB)"))})
    update(122.0)
    clock.at = 130.0
    made.end_all()
    assert made.unsaved == [
        Activity(100.0, "a", "idle", "no trial to run"),
        Activity(110.0, "a", "idle", "waits for a proposal"),
        Activity(111.0, "a", "starting", None, "s", 7),
        Activity(115.0, "a", "training", None, "s", 7),
        Activity(120.0, "a", "foreign", "alice (pid 7, 1.0 GB)"),
        Activity(130.0, "a", "off"),
    ]
    made.forget_saved(5)
    assert made.unsaved == [Activity(130.0, "a", "off")]


def test_a_script_that_flips_its_phase_has_said_enough_at_some_time() -> None:
    """Each change is a row in the journal and a retained message."""
    made, _, _ = board()
    changes = [made.take_phase("a", phase) for phase in ("training", "evaluating") * 200]
    assert changes[:4] == [True] * 4 and sum(changes) == 100
    made.update({}, "no study runs")
    assert made.take_phase("a", "training")  # the next trial
