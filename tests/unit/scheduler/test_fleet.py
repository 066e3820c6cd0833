"""Whether a trial may start on a device, and what becomes of those that run there."""

import pytest

from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.events import DeviceDrained, DeviceQuarantined, DeviceReturned
from cnnbo.scheduler.fleet import DeviceState, Fleet, Moment, Reading, Standing
from cnnbo.scheduler.occupancy import Stranger
from cnnbo.scheduler.sharing import Hours, Sharing, Yield

NOON = Moment(1000.0, 12 * 60)
NIGHT = Moment(1000.0, 23 * 60)
ALICE = Stranger("alice: python train.py (pid 41277, 9.1 GB)", is_known=True)
LOST = Reading("It has fallen off the bus.", is_broken=True)


def standing(fleet: Fleet, device: str = "a", *busy: str, moment: Moment = NOON) -> Standing:
    return fleet.standing(device, busy, moment)


def take(fleet: Fleet, at: float, **readings: Reading) -> list[DeviceQuarantined]:
    """Take a reading, and journal what follows, as the daemon does."""
    found = fleet.take(at, readings)
    for event in found:
        fleet.check(event)
        fleet.handle(event)
    return found


def test_a_device_nobody_has_said_anything_about_is_well() -> None:
    """A first start knows nothing."""
    assert standing(Fleet()) == Standing(DeviceState.IDLE)
    assert Fleet().startable(["a", "b"], ["b"], NOON) == ["a"]


def test_a_broken_device_stays_out_until_somebody_returns_it() -> None:
    """One that fell off the bus once does it again at three in the morning."""
    fleet = Fleet()
    [found] = take(fleet, 5.0, a=LOST)
    assert (found.device, found.reason) == ("a", "It has fallen off the bus")
    assert take(fleet, 7.0, a=LOST) == []  # told once
    assert take(fleet, 9.0, a=Reading()) == []
    assert standing(fleet) == Standing(DeviceState.QUARANTINED, "It has fallen off the bus")
    fleet.handle(DeviceReturned(11.0, "a"))
    assert standing(fleet) == Standing(DeviceState.IDLE)
    assert fleet.returned == {"a": 11.0}


def test_a_device_that_is_still_broken_cannot_be_returned() -> None:
    """It would be quarantined again two seconds later, and nobody would know why."""
    fleet = Fleet()
    take(fleet, 5.0, a=LOST)
    with pytest.raises(RequestError, match="still out of order: It has fallen off the bus"):
        fleet.check(DeviceReturned(6.0, "a"))


def test_a_fault_of_the_driver_ends_with_it() -> None:
    """A driver that answers again needs nobody's word."""
    fleet = Fleet()
    assert take(fleet, 5.0, a=Reading("The driver answers with an unknown error.")) == []
    assert standing(fleet) == Standing(DeviceState.QUARANTINED, "The driver answers with an unknown error.")
    take(fleet, 7.0, a=Reading())
    assert standing(fleet).is_startable


def test_a_drained_device_gets_nothing_until_it_is_returned() -> None:
    """Somebody wants to open the box tomorrow; a restart of the daemon must not matter."""
    fleet = Fleet()
    drained = DeviceDrained(5.0, "a", "drained by bob")
    fleet.check(drained)
    fleet.handle(drained)
    for busy in ((), ("a",)):
        assert standing(fleet, "a", *busy) == Standing(DeviceState.DRAINED, "drained by bob")
    with pytest.raises(RequestError, match="drained already"):
        fleet.check(drained)
    fleet.handle(DeviceReturned(6.0, "a"))
    with pytest.raises(RequestError, match="neither drained nor quarantined"):
        fleet.check(DeviceReturned(7.0, "a"))


def test_a_quarantined_device_needs_no_draining() -> None:
    """The order would hide why it is out of use."""
    fleet = Fleet()
    fleet.handle(DeviceQuarantined(1.0, "a", "XID 79", 79))
    with pytest.raises(RequestError, match="quarantined"):
        fleet.check(DeviceDrained(2.0, "a", "drained by bob"))


def test_somebody_elses_process_keeps_trials_away_and_is_told_beside_ours() -> None:
    """A colleague's job comes first, and theirs is the name on the screen."""
    fleet = Fleet()
    take(fleet, 1.0, a=Reading(stranger=ALICE))
    assert standing(fleet) == Standing(DeviceState.FOREIGN, ALICE.reason)
    assert standing(fleet, "a", "a") == Standing(DeviceState.BUSY, ALICE.reason)


@pytest.mark.parametrize(
    ("box", "study", "stranger", "stops"),
    [
        (Yield.FINISH, Yield.FINISH, ALICE, False),
        (Yield.STOP, Yield.FINISH, ALICE, True),
        (Yield.FINISH, Yield.STOP, ALICE, True),
        (Yield.STOP, Yield.STOP, Stranger("a process this box does not know (pid 7)"), False),
        (Yield.STOP, Yield.STOP, None, False),
    ],
)
def test_a_trial_makes_room_where_that_is_wanted_and_somebody_is_known_to_be_there(
    box: Yield, study: Yield, stranger: Stranger | None, stops: bool
) -> None:
    """In a container our own trial looks like a stranger nobody knows: it would be stopped again and again."""
    fleet = Fleet(Sharing(yields=box))
    take(fleet, 1.0, a=Reading(stranger=stranger))
    assert (fleet.must_yield("a", study) is not None) is stops


def test_trials_start_within_the_hours_only() -> None:
    """Students' desks by day, studies by night."""
    fleet = Fleet(Sharing(hours=Hours.parse("20:00-08:00")))
    assert standing(fleet) == Standing(DeviceState.IDLE, "trials start from 20:00-08:00 only")
    assert standing(fleet, moment=NIGHT).is_startable


def test_no_more_devices_than_the_box_allows_are_used() -> None:
    """Half of the box is for others."""
    fleet = Fleet(Sharing(max_devices=2))
    assert fleet.startable(["a", "b", "c"], ["d"], NOON) == ["a"]
    assert fleet.startable(["a", "b", "c"], ["d", "e"], NOON) == []


def test_a_device_that_slows_itself_down_for_long_gets_no_new_trial_until_it_has_recovered() -> None:
    """A blocked fan makes every trial there slower, and the box hotter."""
    fleet, hot = Fleet(slow_patience_s=300.0), Reading(slowdown="It is too hot.")
    for at, is_startable in ((0.0, True), (299.0, True), (300.0, False)):
        take(fleet, at, a=hot)
        assert standing(fleet, moment=Moment(at, 0)).is_startable is is_startable
    take(fleet, 310.0, a=Reading())
    take(fleet, 320.0, a=hot)
    assert standing(fleet, moment=Moment(330.0, 0)).is_startable


def test_nothing_starts_while_the_daemon_is_halted_or_a_device_rests() -> None:
    """A full disk, or a device on which a process could not be started a moment ago."""
    fleet = Fleet()
    fleet.rest("a", at=990.0, until=1005.0)
    assert not standing(fleet).is_startable
    for at in (980.0, 1005.0):  # set back, or over
        assert standing(fleet, moment=Moment(at, 0)).is_startable
    fleet.halt("the disk is full")
    assert standing(fleet, "b") == Standing(DeviceState.IDLE, "the disk is full")
    fleet.halt(None)
    assert standing(fleet).is_startable  # what failed on a full disk need not wait once there is space
