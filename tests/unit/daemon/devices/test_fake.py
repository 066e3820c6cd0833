"""The devices that other tests build on."""

from collections.abc import Callable

import pytest
from tests.contracts.device_backend import VanishingDeviceContract

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
