"""From the driver to the trial: a study on NVIDIA devices, on a driver library of our own."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.conftest import SCRIPT, Box, environments_of
from tests.nvml.driver import MIG_CHANGE, FakeDriver, FakeInstance, FakeProcess, gpus

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


WAITING = (
    SCRIPT
    + """
while os.environ["CUDA_VISIBLE_DEVICES"] == os.environ["STUCK_ON"] and not pathlib.Path("go").exists():
    time.sleep(0.02)
"""
)
"""Trials on one device wait for a file; on the others they end at once."""


def test_a_device_off_the_bus_is_quarantined_and_its_trial_runs_elsewhere(
    gpu_box: Box, fake_driver: FakeDriver
) -> None:
    """At three in the morning nobody is there to see it; at nine somebody reads why and gives the device back."""
    uuids = [device["uuid"] for device in gpu_box.json("devices")]
    study = gpu_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"), WAITING)
    gpu_box.daemon(CNNBO_POLL_S="0.2")
    gpu_box.run("submit", study, STUCK_ON=uuids[1])

    def on_second() -> int | None:
        trial: int | None = gpu_box.json("devices")[1]["trial"]
        return trial

    _wait(lambda: on_second() is not None)
    stuck = on_second()
    fake_driver.xid(uuids[1], 79)
    _wait(lambda: gpu_box.json("show", "parabola")["state"] == "finished")
    shown = gpu_box.json("show", "parabola")
    [trial] = [trial for trial in shown["trials"] if trial["id"] == stuck]
    assert [attempt["outcome"] for attempt in trial["attempts"]] == ["device_lost", "complete"]
    assert (trial["attempts"][0]["device"], shown["failed"]) == (uuids[1], 0)
    assert trial["attempts"][1]["device"] != uuids[1]
    device = gpu_box.json("devices")[1]
    assert device["state"] == "quarantined" and device["reason"].startswith("XID 79")
    assert "XID 79" in gpu_box.run("devices").stdout
    assert gpu_box.run("return", "gpu1").stdout == "gpu1: may be used again (now idle)\n"


def test_a_drained_device_stays_drained_over_a_restart(gpu_box: Box) -> None:
    """Whoever opens the box tomorrow relies on it."""
    daemon = gpu_box.daemon()
    assert gpu_box.run("drain", "1").stdout == "gpu1: drained\n"
    assert "drained already" in gpu_box.run("drain", "1", code=1).stderr
    assert "doesn't exist here" in gpu_box.run("drain", "7", code=78).stderr
    daemon.kill()
    daemon.wait()
    gpu_box.daemon()
    states = [device["state"] for device in gpu_box.json("devices")]
    assert states == ["idle", "drained", "idle"]
    study = gpu_box.write_study()
    gpu_box.run("run", study)
    used = {trial["attempts"][0]["device"] for trial in gpu_box.json("show", "parabola")["trials"]}
    assert gpu_box.json("devices")[1]["uuid"] not in used
    assert gpu_box.json("return", "gpu1")["state"] == "idle"
    assert "neither drained nor quarantined" in gpu_box.run("return", "1", code=1).stderr


def test_energy_is_measured_by_the_devices_own_counters(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """What a study used is a figure that can be checked against the meter."""
    uuids = [device["uuid"] for device in gpu_box.json("devices")]
    for uuid in uuids:
        fake_driver.change(uuid, energy_mj=5_000_000)
    script = SCRIPT + "\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    study = gpu_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 3"), script)
    gpu_box.daemon()
    gpu_box.run("submit", study)
    _wait(lambda: {device["state"] for device in gpu_box.json("devices")} == {"busy"})
    for uuid in uuids:
        fake_driver.change(uuid, energy_mj=5_000_000 + 1_200_000)
    (gpu_box.folder / "go").touch()
    _wait(lambda: gpu_box.json("show", "parabola")["state"] == "finished")
    shown = gpu_box.json("show", "parabola")
    assert [trial["energy_j"] for trial in shown["trials"]] == [1200.0] * 3
    assert shown["energy_kwh"] == pytest.approx(0.001)


def test_an_energy_budget_is_taken_where_energy_is_measured(gpu_box: Box) -> None:
    """And refused on the CPU, where it would never be reached."""
    study = gpu_box.write_study(lambda text: text + "[budget]\nenergy_kwh = 5.0\n")
    assert "not measured" in gpu_box.run("run", study, "--no-mqtt", "--devices", "cpu", code=78).stderr
    gpu_box.run("run", study, "--no-mqtt")


def test_devices_that_come_and_go_are_noticed_while_a_study_runs(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """Nobody restarts a daemon because somebody has cut a card into instances."""
    script = SCRIPT + "\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    study = gpu_box.write_study(lambda text: text.replace("evaluations = 4", "evaluations = 6"), script)
    gpu_box.daemon(CNNBO_POLL_S="0.1")
    gpu_box.run("submit", study)
    _wait(lambda: [device["state"] for device in gpu_box.json("devices")] == ["busy"] * 3)
    first, second, third, fourth = gpus(4)
    instances = tuple(FakeInstance(f"MIG-{k}") for k in "ab")
    fake_driver.install([first, second, replace(third, instances=instances), fourth])
    fake_driver.event(third.uuid, MIG_CHANGE)
    _wait(lambda: {"MIG-a", "MIG-b", fourth.uuid} <= {device["uuid"] for device in gpu_box.json("devices")})
    (gpu_box.folder / "go").touch()
    _wait(lambda: gpu_box.json("show", "parabola")["state"] == "finished")
    states = {device["uuid"]: device["state"] for device in gpu_box.json("devices")}
    assert states == dict.fromkeys([first.uuid, second.uuid, fourth.uuid, "MIG-a", "MIG-b"], "idle") | {
        third.uuid: "quarantined"  # cut, it is no device of its own any more
    }
    used = {trial["attempts"][0]["device"] for trial in gpu_box.json("show", "parabola")["trials"]}
    assert {first.uuid, second.uuid, third.uuid} < used
    fake_driver.install([first, second, replace(third, instances=()), fourth])
    fake_driver.event(third.uuid, MIG_CHANGE)
    _wait(lambda: not any(device["uuid"].startswith("MIG-") for device in gpu_box.json("devices")))


def _wait(claim: Callable[[], bool]) -> None:
    """Look again and again, since the command line can only be asked."""
    deadline = time.monotonic() + 60
    while not claim():
        assert time.monotonic() < deadline
