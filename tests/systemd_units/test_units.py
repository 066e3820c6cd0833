"""The units that travel with the package, as systemd itself reads and judges them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from cnnbo.cli.installing.units import SYSTEM_UNIT, USER_UNIT, unit_text

pytestmark = pytest.mark.systemd_analyze

MOSQUITTO = "mosquitto.service.d/cnnbo.conf"
HIGHEST_EXPOSURE = 2.5

DEBIANS_MOSQUITTO = """\
[Unit]
Description=Mosquitto MQTT Broker
After=network.target

[Service]
Type=notify
ExecStart=/bin/true
ExecStartPre=/bin/mkdir -m 740 -p /var/log/mosquitto
ExecStartPre=/bin/chown mosquitto /var/log/mosquitto

[Install]
WantedBy=multi-user.target
"""
"""What the drop-in is added to, with a program that every machine has."""


def analyze(unit: Path, *arguments: str) -> str:
    """What `systemd-analyze` prints; it must have nothing against the unit."""
    done = subprocess.run(
        ["systemd-analyze", *arguments, unit], capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent), "SYSTEMD_COLORS": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # Of units of this machine that are read beside it, it says things too.
    assert unit.name not in done.stderr and str(unit.parent) not in done.stderr, done.stderr
    return done.stdout


def exposure(unit: Path) -> float:
    """How much of the box a unit could harm, from 0 to 10, as systemd rates it."""
    told = analyze(unit, "security", "--offline=true", "--no-pager")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    return float(found[1])


def with_drop_in(folder: Path) -> Path:
    unit = folder / "mosquitto.service"
    unit.write_text(DEBIANS_MOSQUITTO)
    drop_in = folder / MOSQUITTO
    drop_in.parent.mkdir()
    drop_in.write_text((files("cnnbo") / "systemd" / MOSQUITTO).read_text(encoding="utf-8"))
    return unit


def of_box(folder: Path) -> Path:
    unit = folder / "cnnbo.service"
    unit.write_text(unit_text(SYSTEM_UNIT, Path(sys.executable)))
    return unit


def of_box_with_groups(folder: Path) -> Path:
    unit = folder / "cnnbo.service"
    unit.write_text(unit_text(SYSTEM_UNIT, Path(sys.executable), ("video", "render")))
    return unit


@pytest.mark.parametrize("make", [of_box, of_box_with_groups, with_drop_in])
def test_systemd_has_nothing_against_a_unit_of_the_box(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """A line that it doesn't know is passed over at the boot of a box, and with it what it was for."""
    analyze(make(tmp_path), "verify")


def test_systemd_has_nothing_against_the_unit_of_a_user(tmp_path: Path) -> None:
    """It is read by another manager, that of the user."""
    unit = tmp_path / "cnnbo.service"
    unit.write_text(unit_text(USER_UNIT, Path(sys.executable)))
    analyze(unit, "--user", "verify")


@pytest.mark.parametrize("make", [of_box, of_box_with_groups, with_drop_in])
def test_a_unit_of_the_box_can_do_little_harm(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Administrators look at this figure before they let it run."""
    assert exposure(make(tmp_path)) <= HIGHEST_EXPOSURE


def setting(unit: str, name: str) -> list[str]:
    """The values of a setting, in their order."""
    text = (files("cnnbo") / "systemd" / unit).read_text(encoding="utf-8")
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_training_is_not_hardened_away() -> None:
    """Each of these makes the unit look better and breaks it, as only a box with devices would show."""
    for forbidden in ("PrivateDevices", "MemoryDenyWriteExecute", "PrivateUsers", "ProtectProc", "ProcSubset"):
        assert setting(SYSTEM_UNIT, forbidden) == []
    assert setting(SYSTEM_UNIT, "DevicePolicy") == ["closed"]
    names = ("char-nvidia", "char-nvidiactl", "char-nvidia-caps", "char-nvidia-frontend", "char-nvidia-uvm")
    assert [value.split()[0] for value in setting(SYSTEM_UNIT, "DeviceAllow")] == list(names)


@pytest.mark.parametrize("unit", [SYSTEM_UNIT, USER_UNIT])
def test_a_service_is_watched_stopped_in_order_and_started_again(unit: str) -> None:
    """What the daemon does for this is lost without the line that asks for it."""
    wanted = {
        "Type": "notify",
        "NotifyAccess": "main",
        "WatchdogSec": "60",
        "KillMode": "mixed",
        "Restart": "on-failure",
        "RestartPreventExitStatus": "78",
        "OOMPolicy": "continue",
    }
    assert {name: setting(unit, name) for name in wanted} == {name: [value] for name, value in wanted.items()}
