"""When what failed is tried again."""

import pytest
from tests.unit.daemon.devices.conftest import Clock

from cnnbo.daemon.devices.back_off import BackOff


@pytest.fixture
def back_off(clock: Clock) -> BackOff:
    return BackOff(2.0, 5.0, clock)


def test_waits_double_up_to_the_longest(back_off: BackOff, clock: Clock) -> None:
    """What takes long to come back isn't asked for it all the time."""
    for wait_s in (2.0, 4.0, 5.0, 5.0):
        back_off.fail()
        clock.now += wait_s - 0.5
        assert back_off.is_waiting and not back_off.is_over
        clock.now += 0.5
        assert back_off.is_over and not back_off.is_waiting


def test_a_success_begins_anew(back_off: BackOff, clock: Clock) -> None:
    """The next failure has nothing to do with the last one."""
    back_off.fail()
    back_off.fail()
    back_off.reset()
    assert not back_off.is_waiting and not back_off.is_over
    back_off.fail()
    clock.now += 2.0
    assert back_off.is_over
