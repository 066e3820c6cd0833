"""At most so many devices at a time, as somebody said while the daemon ran."""

import pytest

from cnnbo.scheduler.events import DevicesLimited
from cnnbo.scheduler.fleet import DeviceState, Fleet, Moment, Standing
from cnnbo.scheduler.sharing import Sharing

NOON = Moment(1000.0, 12 * 60)
DEVICES = ["a", "b", "c"]


def limited(max_devices: int | None, sharing: int | None = None) -> Fleet:
    fleet = Fleet(Sharing(max_devices=sharing))
    event = DevicesLimited(1.0, max_devices, "limited by bob")
    fleet.check(event)
    fleet.handle(event)
    return fleet


@pytest.mark.parametrize(
    ("settings", "said", "startable"),
    [(None, 2, ["a"]), (3, 2, ["a"]), (2, 3, ["a"]), (2, None, ["a"]), (None, None, DEVICES), (None, 1, [])],
)
def test_the_stricter_limit_counts(settings: int | None, said: int | None, startable: list[str]) -> None:
    """Half of the box is for others whatever a dashboard says, and a dashboard can ask for less."""
    assert limited(said, settings).startable(DEVICES, ["d"], NOON) == startable


def test_a_limit_that_is_reached_is_no_devices_reason_but_none_at_all_is() -> None:
    """A device may be the next one that is used; with the power dear, nobody should wonder why all of them wait."""
    fleet = limited(1)
    assert fleet.standing("a", ["b"], NOON) == Standing(DeviceState.IDLE)
    fleet.handle(DevicesLimited(2.0, 0, "limited by mqtt"))
    standing = fleet.standing("a", ["b"], NOON)
    assert standing == Standing(
        DeviceState.IDLE, "no device may be used (limited by mqtt); lift that: cnnbo limit none"
    )
    assert fleet.standing("b", ["b"], NOON) == Standing(DeviceState.BUSY)  # what runs goes on
    fleet.handle(DevicesLimited(3.0, None))
    assert (fleet.limit, fleet.startable(DEVICES, [], NOON)) == (None, DEVICES)
