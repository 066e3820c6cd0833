"""From the driver to the trial: a study on NVIDIA devices, on a driver library of our own."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.conftest import SCRIPT, Box, environments_of
from tests.nvml.driver import FakeDriver, FakeProcess

pytestmark = pytest.mark.gcc

DUMPING = (
    SCRIPT
    + """
import json
folder = pathlib.Path(os.environ["CNNBO_TRIAL"]).parent
(folder / "environment.json").write_text(json.dumps(dict(os.environ)))
"""
)


@pytest.fixture
def gpu_box(box: Box, fake_driver: FakeDriver) -> Box:
    """A box with three NVIDIA devices."""
    box.environment |= fake_driver.env()
    return box


def test_devices_are_listed_with_all_their_figures(gpu_box: Box) -> None:
    """Scripts read UUID, name, memory, temperature, power and utilisation; without a daemon too."""
    found = gpu_box.json("devices")
    assert [device["index"] for device in found] == [0, 1, 2]
    assert all(device["uuid"].startswith("GPU-") for device in found)
    figures = ("name", "memory_used_mib", "memory_total_mib", "temperature_c", "power_w", "utilisation_percent")
    assert all(device[figure] is not None for device in found for figure in figures)
    assert {device["state"] for device in found} == {"idle"}


def test_one_trial_per_device_and_each_sees_its_own(gpu_box: Box) -> None:
    """Two trials on one device is the one thing that must never happen."""
    study = gpu_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"), DUMPING)
    shown = json.loads(gpu_box.run("run", study, "--no-mqtt", "--json").stdout)
    seen = environments_of(gpu_box.state, "parabola")
    assert len(seen) == 6
    devices = {trial["id"]: trial["attempts"][0]["device"] for trial in shown["trials"]}
    for environment in seen:
        trial = json.loads(Path(environment["CNNBO_TRIAL"]).read_text())["trial"]
        assert environment["CUDA_VISIBLE_DEVICES"] == devices[trial]
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    attempts = sorted((t["attempts"][0] for t in shown["trials"]), key=lambda attempt: str(attempt["started"]))
    for earlier in attempts:
        later = [a for a in attempts if a["device"] == earlier["device"] and a["started"] > earlier["started"]]
        assert all(attempt["started"] >= earlier["ended"] for attempt in later)


def test_chosen_devices_are_resolved_to_uuids(gpu_box: Box) -> None:
    """Indices move at a reboot; what is meant today is said in UUIDs."""
    study = gpu_box.write_study()
    uuids = [device["uuid"] for device in gpu_box.json("devices")]
    done = gpu_box.run("run", study, "--devices", "0,2", "--no-mqtt")
    assert uuids[0] in done.stdout and uuids[2] in done.stdout and uuids[1] not in done.stdout
    used = {t["attempts"][0]["device"] for t in gpu_box.json("show", "parabola")["trials"]}
    assert used <= {uuids[0], uuids[2]}


def test_a_broken_driver_is_no_reason_to_use_the_cpu(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """A night on the CPU by mistake is worse than a sentence now."""
    fake_driver.fail(18)
    study = gpu_box.write_study()
    refused = gpu_box.run("run", study, "--no-mqtt", code=78)
    assert "reboot" in refused.stderr and "--devices cpu" in refused.stderr


def _run_until(box: Box, study: Path, is_seen: Callable[[dict[str, str]], bool]) -> None:
    """Run and delete a study until the states of the devices by UUID are as wanted: a study wakes their reader."""
    deadline = time.monotonic() + 60
    while not is_seen({device["uuid"]: device["state"] for device in box.json("devices")}):
        box.run("run", study)
        box.run("delete", "parabola", "-y")
        assert time.monotonic() < deadline


def test_a_lost_device_gets_no_trial(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """The others go on; the lost one says why it doesn't."""
    uuids = [device["uuid"] for device in gpu_box.json("devices")]
    gpu_box.daemon(CNNBO_POLL_S="0.2")
    fake_driver.lose(uuids[1])
    study = gpu_box.write_study()
    _run_until(gpu_box, study, lambda states: states[uuids[1]] == "quarantined")
    gpu_box.run("run", study)
    used = {trial["attempts"][0]["device"] for trial in gpu_box.json("show", "parabola")["trials"]}
    assert uuids[1] not in used


def test_a_device_in_use_by_somebody_else_is_left_alone_until_they_leave(
    gpu_box: Box, fake_driver: FakeDriver, stranger: int
) -> None:
    """Nobody installs a tuner twice that trampled on a colleague's job."""
    uuids = [device["uuid"] for device in gpu_box.json("devices")]
    fake_driver.occupy(uuids[1], FakeProcess(stranger, 9318))
    gpu_box.daemon(CNNBO_POLL_S="0.2")
    study = gpu_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"))
    told = gpu_box.run("run", study).stdout
    device = gpu_box.json("devices")[1]
    assert (device["state"], device["study"]) == ("foreign", None)
    assert device["reason"].endswith(f"(pid {stranger}, 9.1 GB)")
    assert device["since"] is not None
    assert f"gpu1 not used: {device['reason']} (used again when that process ends)" in told
    assert uuids[1] not in {trial["attempts"][0]["device"] for trial in gpu_box.json("show", "parabola")["trials"]}
    fake_driver.occupy(uuids[1])
    gpu_box.run("delete", "parabola", "-y")
    _run_until(gpu_box, study, lambda states: states[uuids[1]] != "foreign")
    gpu_box.run("run", study)
    assert uuids[1] in {trial["attempts"][0]["device"] for trial in gpu_box.json("show", "parabola")["trials"]}
