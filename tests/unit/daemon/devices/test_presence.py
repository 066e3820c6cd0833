"""What the kernel tells of GPUs that no driver offers."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nvml.driver import FakeDriver

from cnnbo.daemon.devices.presence import gpus_without_devices, nodes_closed_by_rules, runs_slurmd
from cnnbo.daemon.devices.select import open_devices
from cnnbo.scheduler.errors import ConfigurationError, NotReadyError


def plug_in(bus: Path, address: str, vendor: str = "0x10de", kind: str = "0x030200", driver: str | None = None) -> None:
    """Put a card on a bus, as sysfs shows it."""
    card = bus / address
    card.mkdir(parents=True)
    (card / "vendor").write_text(f"{vendor}\n")
    (card / "class").write_text(f"{kind}\n")
    if driver:
        (card / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")


def test_gpus_without_a_driver_are_there(tmp_path: Path) -> None:
    """At boot, or with the driver of somebody else; sound and network cards are none, nor are a virtual machine's."""
    bus = tmp_path / "devices"
    plug_in(bus, "0000:17:00.0")
    plug_in(bus, "0000:18:00.0", kind="0x030000", driver="nouveau")
    plug_in(bus, "0000:17:00.1", kind="0x040300")
    plug_in(bus, "0000:00:02.0", vendor="0x8086", kind="0x030000", driver="i915")
    plug_in(bus, "0000:19:00.0", driver="vfio-pci")
    assert gpus_without_devices(bus, tmp_path) == ["0000:17:00.0", "0000:18:00.0"]
    assert gpus_without_devices(tmp_path / "no-bus", tmp_path) == []


def test_a_container_has_only_the_gpus_that_were_handed_on(tmp_path: Path) -> None:
    """sysfs shows the whole host in there; with the device nodes but no library the GPU is meant to be used."""
    bus = tmp_path / "devices"
    plug_in(bus, "0000:17:00.0", driver="nvidia")
    assert gpus_without_devices(bus, tmp_path) == []
    (tmp_path / "nvidiactl").touch()
    assert gpus_without_devices(bus, tmp_path) == ["0000:17:00.0"]


@pytest.mark.gcc
@pytest.mark.parametrize("wanted", ["auto", "0"])
def test_a_gpu_that_no_driver_offers_is_never_replaced_by_the_cpu(
    wanted: str, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night on the CPU instead of four GPUs is worse than an error; who wants that says so."""
    monkeypatch.delenv("CNNBO_FAKE_NVML")  # the library then answers as if it were not installed
    with pytest.raises(NotReadyError, match=r"0000:17:00\.0; load or install .* --devices cpu"):
        open_devices(wanted, {}, lambda: ["0000:17:00.0"])
    for chosen, environ in (("cpu", {}), ("auto", {"CUDA_VISIBLE_DEVICES": ""}), ("auto", {"SLURM_JOB_ID": "7"})):
        selection = open_devices(chosen, environ, lambda: ["0000:17:00.0"])
        assert [device.uuid for device in selection.devices] == ["cpu-0"]
        selection.backend.close()


def test_nodes_that_are_open_or_missing_are_no_reason_to_start_anew(tmp_path: Path) -> None:
    """A file that its mode closes stays closed, however often the unit is started."""
    (tmp_path / "nvidiactl").touch()
    assert nodes_closed_by_rules(tmp_path) == []
    assert nodes_closed_by_rules(tmp_path / "missing") == []


@pytest.fixture
def closing_group(tmp_path: Path) -> Iterator[Path]:
    """A control group that keeps one kind of device closed, by the rules that systemd uses too; of version 1."""
    group = Path(f"/sys/fs/cgroup/devices/{tmp_path.name}-{os.getpid()}")
    try:
        group.mkdir()
        (group / "devices.deny").write_text("c 10:229 rw")
    except OSError as error:
        pytest.skip(f"no rules for devices can be made here: {error.strerror}")
    yield group
    group.rmdir()


def test_a_node_that_the_rules_of_the_control_group_close_is_found(closing_group: Path, tmp_path: Path) -> None:
    """As in a unit that was started before the driver was loaded."""
    node = tmp_path / "nvidia-uvm"
    os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    ask = (
        "import os, sys, pathlib\n"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
        "from cnnbo.daemon.devices.presence import nodes_closed_by_rules\n"
        "print(*nodes_closed_by_rules(pathlib.Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, closing_group, tmp_path], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"{node}\n"


@pytest.mark.gcc
def test_gpus_that_slurm_gives_out_are_used_in_its_jobs_alone(driver: FakeDriver, tmp_path: Path) -> None:
    """A colleague's job is about to be put there, and nobody would see why it fails."""
    for pid, name in ((1, "systemd"), (812, "slurmd")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
    assert runs_slurmd(tmp_path) and not runs_slurmd(tmp_path / "1")
    for wanted in ("auto", "0"):
        with pytest.raises(ConfigurationError, match="run cnnbo inside one"):
            open_devices(wanted, {}, is_slurms=lambda: True)
    for chosen, environ in (("cpu", {}), ("auto", {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"})):
        open_devices(chosen, environ, is_slurms=lambda: True).backend.close()
