"""Versions and abilities, from the driver of these tests."""

from pathlib import Path

import pytest
from tests.nvml.driver import FakeDriver, FakeInstance, gpus

from cnnbo.daemon.devices.nvml_facts import library_version, read_driver
from cnnbo.scheduler.errors import ConfigurationError

pytestmark = pytest.mark.gcc

FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))


def test_versions_and_capabilities_are_told(driver: FakeDriver) -> None:
    """They decide whether a build of TensorFlow can run."""
    driver.change(THIRD, capability=(12, 0), name="NVIDIA GeForce RTX 5090")
    driver.serve_cuda(12, 4)
    facts = read_driver()
    assert facts is not None and (facts.version, facts.cuda) == ("570.133.20", (12, 4))
    assert [(gpu.uuid, gpu.capability) for gpu in facts.gpus] == [(FIRST, (9, 0)), (SECOND, (9, 0)), (THIRD, (12, 0))]
    assert facts.gpus[2].name == "NVIDIA GeForce RTX 5090" and facts.gpus[0].instances is None
    assert library_version() == "12.570.133.20"


def test_mig_instances_stand_under_their_gpu(driver: FakeDriver) -> None:
    """An empty place is none, and a GPU that is cut into nothing is told from one that isn't cut."""
    driver.change(FIRST, instances=(None, FakeInstance("MIG-1"), FakeInstance("MIG-2")))
    driver.change(SECOND, instances=())
    facts = read_driver()
    assert facts is not None
    assert [gpu.instances for gpu in facts.gpus] == [("MIG-1", "MIG-2"), (), None]


def test_what_a_card_does_not_tell_is_unknown(driver: FakeDriver) -> None:
    """A card that is lost is left out, and must not hide the others."""
    driver.lose(FIRST)
    driver.change(SECOND, errors={"capability": 3})
    facts = read_driver()
    assert facts is not None
    assert [(gpu.uuid, gpu.capability) for gpu in facts.gpus] == [(SECOND, None), (THIRD, (9, 0))]


def test_a_driver_that_does_not_fit_its_library_says_so(driver: FakeDriver) -> None:
    """After an upgrade without a reboot; the library still tells its version."""
    driver.fail(18)
    with pytest.raises(ConfigurationError, match="upgraded under the running one; reboot"):
        read_driver()
    assert library_version() == "12.570.133.20"


def test_without_a_library_there_is_no_driver(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a laptop."""
    monkeypatch.setenv("CNNBO_FAKE_NVML", str(tmp_path / "nothing"))
    assert (read_driver(), library_version()) == (None, None)
