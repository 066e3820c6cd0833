"""The devices that other tests build on."""

from collections.abc import Callable

import pytest
from tests.contracts.device_backend import VanishingDeviceContract

from cnnbo.daemon.devices.base import HealthEvent, HealthKind
from cnnbo.daemon.devices.fake import FakeBackend


class TestFakeBackend(VanishingDeviceContract):
    """The fake keeps the law of the real ones, or tests on it would prove nothing."""

    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend()

    @pytest.fixture
    def vanish(self, backend: FakeBackend) -> Callable[[str], None]:
        return backend.vanish

    @pytest.fixture
    def restore(self, backend: FakeBackend) -> Callable[[str], None]:
        return backend.restore


def test_reports_what_a_test_says() -> None:
    """Tests of what is done about an event need no driver."""
    backend = FakeBackend()
    event = HealthEvent(("FAKE-1",), HealthKind.HARDWARE, "XID 79: it has fallen off the bus", 79)
    backend.report(event)
    assert list(backend.wait_for_events(60)) == [event]
