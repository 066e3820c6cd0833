"""What every device backend keeps to."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cnnbo.daemon.devices.base import DeviceBackend


class DeviceBackendContract:
    """The law of `DeviceBackend`; subclasses supply a fixture `backend` with two or more devices, all of them well."""

    def test_finds_devices_by_rising_index(self, backend: DeviceBackend) -> None:
        """People and allocation go through devices in this order."""
        indices = [device.index for device in backend.discover()]
        assert len(indices) >= 2
        assert indices == sorted(set(indices))

    def test_names_every_device_once_and_for_all(self, backend: DeviceBackend) -> None:
        """Journal, topics and leases are keyed by UUID."""
        first, second = backend.discover(), backend.discover()
        assert list(first) == list(second)
        assert len({device.uuid for device in first}) == len(first)

    def test_uuids_fit_into_file_names_and_topics(self, backend: DeviceBackend) -> None:
        """A lease file and an MQTT topic are named by the UUID."""
        for device in backend.discover():
            assert device.uuid
            assert not set(device.uuid) & set("/+#\0 ")

    def test_pins_a_trial_to_its_own_device(self, backend: DeviceBackend) -> None:
        """Two trials must not meet on a device, and a missing variable would show a trial all of them."""
        places = [(device.environment["CUDA_VISIBLE_DEVICES"], device.cores) for device in backend.discover()]
        assert len(set(places)) == len(places)

    def test_samples_what_was_discovered(self, backend: DeviceBackend) -> None:
        """A screen shows one row per device, whatever the device tells about itself."""
        assert backend.sample() == {}
        devices = backend.discover()
        assert set(backend.sample()) == {device.uuid for device in devices}

    def test_figures_are_sound(self, backend: DeviceBackend) -> None:
        """Figures go to screens and topics unchecked."""
        backend.discover()
        for sample in backend.sample().values():
            assert sample.fault is None
            assert sample.utilisation_percent is None or 0 <= sample.utilisation_percent <= 100
            assert sample.power_w is None or sample.power_w >= 0
            if sample.memory_used_mib is not None and sample.memory_total_mib is not None:
                assert 0 <= sample.memory_used_mib <= sample.memory_total_mib

    def test_well_devices_are_all_readable(self, backend: DeviceBackend) -> None:
        """What couldn't be read is told to the user beside the devices."""
        backend.discover()
        assert list(backend.unreadable) == []

    def test_reports_nothing_of_devices_that_are_well(self, backend: DeviceBackend) -> None:
        """Whoever waits for events goes on waiting; before a discovery there is nothing to wait for."""
        assert list(backend.wait_for_events(0.01)) == []
        backend.discover()
        assert list(backend.wait_for_events(0.01)) == []

    def test_closing_ends_a_wait_for_events(self, backend: DeviceBackend) -> None:
        """The daemon stops at once, whatever its threads wait for."""
        backend.discover()
        with ThreadPoolExecutor(1) as thread:
            wait = thread.submit(backend.wait_for_events, 60)
            backend.close()
            assert list(wait.result(timeout=30)) == []

    def test_closing_forgets_the_devices(self, backend: DeviceBackend) -> None:
        """A driver that was let go must not be opened again by a late reading."""
        backend.discover()
        backend.close()
        backend.close()
        assert backend.sample() == {}

    def test_opens_again_after_closing(self, backend: DeviceBackend) -> None:
        """Nothing about closing is final but the driver's session."""
        before = backend.discover()
        backend.close()
        assert backend.discover() == before


class VanishingDeviceContract(DeviceBackendContract):
    """More law for devices that can go; subclasses supply fixtures `vanish` and `restore`, each called with a UUID."""

    def test_a_vanished_device_has_a_fault(self, backend: DeviceBackend, vanish: Callable[[str], None]) -> None:
        """The trial on it is lost to the device, not to its configuration, and its neighbours go on."""
        first, second, *_ = backend.discover()
        vanish(second.uuid)
        samples = backend.sample()
        assert samples[first.uuid].fault is None
        assert samples[second.uuid].fault

    def test_a_vanished_device_is_not_discovered(self, backend: DeviceBackend, vanish: Callable[[str], None]) -> None:
        """No trial may be started on it; that it was known stays visible in the samples."""
        first, second, *rest = backend.discover()
        vanish(first.uuid)
        assert list(backend.discover()) == [second, *rest]
        assert backend.sample()[first.uuid].fault

    def test_a_device_comes_back(
        self, backend: DeviceBackend, vanish: Callable[[str], None], restore: Callable[[str], None]
    ) -> None:
        """After a reset the device is used again without a restart of the daemon."""
        first, *_ = backend.discover()
        vanish(first.uuid)
        assert backend.sample()[first.uuid].fault
        restore(first.uuid)
        assert backend.sample()[first.uuid].fault is None
        assert first.uuid in {device.uuid for device in backend.discover()}
