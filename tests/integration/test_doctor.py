"""`cnnbo doctor` as people and Ansible call it, against real brokers, journals, processes and the stand-in driver."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Box
from tests.nvml.driver import FakeDriver, FakeInstance, FakeProcess, gpus

from cnnbo.daemon.lease import Lease, lease_path

FIRST, SECOND, THIRD = (gpu.uuid for gpu in gpus(3))

LIBRARY = """\
import os, types
__version__ = "2.99.0"
def _list(kind):
    return [object()] * int(os.environ.get("GPUS_SEEN", "1")) if os.environ["CUDA_VISIBLE_DEVICES"] else []
sysconfig = types.SimpleNamespace(get_build_info=lambda: BUILD)
config = types.SimpleNamespace(
    list_physical_devices=_list,
    experimental=types.SimpleNamespace(set_memory_growth=lambda gpu, grow: None),
)
class device:
    def __init__(self, name): pass
    def __enter__(self): return self
    def __exit__(self, *error): pass
class _Matrix:
    def __getitem__(self, place): return 256.0
ones = lambda shape: _Matrix()
def matmul(a, b):
    FAILURE
    return a
"""
"""A TensorFlow that is there in no time, for a process that is real."""


@pytest.fixture
def doctor_box(box: Box) -> Box:
    """A box whose study runs on a Python without any library, so that nothing takes seconds."""
    box.write_study()
    bare = box.folder / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    box.write_study(lambda text: text.replace(f'python = "{sys.executable}"', f'python = "{bare}"'))
    return box


@pytest.fixture
def gpu_box(doctor_box: Box, fake_driver: FakeDriver) -> Box:
    """The same with three NVIDIA devices."""
    doctor_box.environment |= fake_driver.env()
    return doctor_box


def install_library(box: Box, kernels: list[str], cuda: str | None = "12.5.1", failure: str = "") -> None:
    """Give the study's Python a TensorFlow that was built so."""
    build = {"cuda_version": cuda, "cuda_compute_capabilities": kernels} if cuda else {}
    package = box.folder / "library" / "tensorflow"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(f"BUILD = {build!r}\n" + LIBRARY.replace("FAILURE", failure))
    box.environment["PYTHONPATH"] = str(package.parent)


def examine(box: Box, *arguments: str | Path, code: int = 0) -> list[dict[str, Any]]:
    """The findings of `cnnbo doctor study.toml --json`, which ends with this exit code."""
    done = box.run("doctor", "study.toml", "--json", *arguments, code=code)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["checks"] == told["ok"] + told["warnings"] + told["failures"] == len(told["findings"])
    return list(told["findings"])


def of(findings: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [finding for finding in findings if finding["check"] == check]


def everything_in(*folders: Path) -> set[Path]:
    return {path for folder in folders if folder.exists() for path in folder.rglob("*")}


def test_a_healthy_box_without_gpu_or_daemon(doctor_box: Box) -> None:
    """One line a finding, a fix under each that is not ok, the sum at the end; nothing is left behind."""
    folders = (doctor_box.folder,)
    before = everything_in(*folders) | {doctor_box.folder / "leases"}
    lines = doctor_box.run("doctor", "study.toml", TMPDIR=str(doctor_box.folder)).stdout.splitlines()
    *told, last = lines
    assert all(line.startswith(("ok    ", "warn  ", "fail  ", "      fix: ")) for line in told)
    assert all(line.isascii() for line in lines)
    bad = [line for line in told if line.startswith(("warn", "fail"))]
    assert len([line for line in told if line.startswith("      fix: ")]) == len(bad)
    assert last.endswith("warnings, 0 failures") or last.endswith("1 warning, 0 failures")
    assert last.startswith(f"{len(told) - len(bad)} checks, ")
    assert any("No NVIDIA device was found" in line for line in told)
    assert any(line.startswith("ok    a trial process runs on cpu-0") for line in told)
    assert everything_in(*folders) == before


def test_findings_have_names_for_scripts(doctor_box: Box) -> None:
    """Ansible goes by them, so they stay."""
    found = examine(doctor_box)
    names = ["cnnbo", "extras", "pynvml", "study", "driver", "state", "disk", "leases", "daemon", "broker", "trial"]
    assert [finding["check"] for finding in found] == names
    assert all(set(finding) == {"check", "level", "text", "fix"} for finding in found)
    assert all((finding["level"] == "ok") == (finding["fix"] is None) for finding in found)


def test_mistakes_in_files_are_findings(doctor_box: Box) -> None:
    """The doctor is called when something is wrong; it must not give up at the first."""
    study = doctor_box.folder / "study.toml"
    study.write_text(study.read_text().replace("evaluations", "n_trials"))
    told = examine(doctor_box, "--devices", "7", "--data", "nowhere", code=1)  # the device isn't there: none is tried
    assert {each["check"] for each in told if each["level"] == "fail"} == {"study", "devices", "data"}
    [found] = of(told, "study")
    assert found["level"] == "fail" and "n_trials" in found["text"] + found["fix"]
    broken = doctor_box.folder / "cnnbo.toml"
    broken.write_text("nodes = 3\n")
    done = doctor_box.run("doctor", code=1, CNNBO_CONFIG=str(broken))
    assert "cnnbo.toml:1" in done.stdout and "1 failure" in done.stdout


@pytest.mark.gcc
def test_devices_are_grouped_and_their_users_named(gpu_box: Box, fake_driver: FakeDriver, stranger: int) -> None:
    """The administrator's first question: what is here, and who is on it."""
    fake_driver.install(
        [
            *(replace(gpu, name="NVIDIA RTX 4090") for gpu in gpus(2)),
            replace(gpus(3)[2], name="NVIDIA RTX 5090", processes=(FakeProcess(stranger, 9300),)),
        ]
    )
    found = examine(gpu_box)
    [driver] = of(found, "driver")
    assert driver["text"] == (
        "driver 570.133.20 (CUDA up to 12.8), 3 devices: gpu0 gpu1 NVIDIA RTX 4090, gpu2 NVIDIA RTX 5090"
    )
    [user] = of(found, "devices")
    assert user["level"] == "warn" and user["text"].startswith("gpu2 in use by ")
    assert f"(pid {stranger}, 9.1 GB)" in user["text"] and "--devices 0,1" in user["fix"]
    [trial] = of(found, "trial")
    assert "gpu0 gpu1" in trial["text"] and "gpu2" not in trial["text"]
    assert list((gpu_box.folder / "leases").iterdir()) == []


@pytest.mark.long
@pytest.mark.gcc
def test_a_device_that_another_cnnbo_holds_is_not_tried(gpu_box: Box) -> None:
    """Its lease says so, and stays."""
    path = lease_path(gpu_box.folder / "leases", FIRST)
    path.parent.mkdir()
    lease = Lease.acquire(path)
    assert lease is not None
    with lease:
        found = examine(gpu_box)
        assert not Lease.is_free(path)
    [held] = of(found, "devices")
    assert "gpu0 in use by another cnnbo" in held["text"]
    assert "gpu1 gpu2" in of(found, "trial")[0]["text"]


@pytest.mark.gcc
@pytest.mark.parametrize(
    ("code", "words", "remedy"),
    [
        (18, "upgraded under the running one", "reboot"),
        pytest.param(9, "not loaded", "modprobe nvidia", marks=pytest.mark.long),
        pytest.param(999, "unknown error", "", marks=pytest.mark.long),
    ],
)
def test_a_driver_that_does_not_answer(
    gpu_box: Box, fake_driver: FakeDriver, code: int, words: str, remedy: str
) -> None:
    """The morning after unattended-upgrades; both versions are named."""
    fake_driver.fail(code)
    [driver] = of(examine(gpu_box, code=1), "driver")
    assert driver["level"] == "fail" and words in driver["text"] and remedy in driver["fix"]
    assert "library 12.570.133.20" in driver["text"]


@pytest.mark.long
@pytest.mark.gcc
def test_lost_and_cut_devices(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """MIG without instances takes a GPU away without a word."""
    fake_driver.lose(FIRST)
    fake_driver.change(SECOND, instances=())
    fake_driver.change(THIRD, instances=(FakeInstance("MIG-1"), FakeInstance("MIG-2", gpu_instance=2)))
    found = examine(gpu_box, code=1)
    assert [(each["level"], each["text"][:5]) for each in of(found, "mig")] == [("warn", "GPU 1"), ("ok", "GPU 2")]
    assert any(each["level"] == "fail" and "fallen off the bus" in each["text"] for each in of(found, "devices"))


@pytest.mark.gcc
def test_kernels_are_compared_with_the_cards(gpu_box: Box, fake_driver: FakeDriver) -> None:
    """A 5090 beside 4090s: the wheel has nothing for it, whatever the process says of the others."""
    for uuid, capability in ((FIRST, (8, 9)), (SECOND, (8, 6)), (THIRD, (12, 0))):
        fake_driver.change(uuid, capability=capability)
    install_library(gpu_box, ["sm_60", "sm_80", "compute_90"], failure="if os.environ['CUDA_VISIBLE_DEVICES'] == "
                    f"'{THIRD}': raise RuntimeError('CUDA_ERROR_INVALID_PTX')")  # fmt: skip
    found = examine(gpu_box, code=1)
    [kernels] = of(found, "kernels")
    assert kernels["level"] == "fail"
    assert kernels["text"] == (
        "TensorFlow 2.99.0 has no kernels for gpu2 (NVIDIA H100 80GB HBM3, compute capability 12.0)"
    )
    assert "trial.python" in kernels["fix"] and "new name" in kernels["fix"] and "--devices 0,1" in kernels["fix"]
    failed, well = of(found, "trial")
    assert failed["level"] == "fail" and "on gpu2: RuntimeError: CUDA_ERROR_INVALID_PTX" in failed["text"]
    assert well["text"].startswith("a trial process sees gpu0 gpu1 (TensorFlow 2.99.0, CUDA 12.5.1) in ")


@pytest.mark.long
@pytest.mark.gcc
@pytest.mark.parametrize(
    ("cuda", "seen", "words"),
    [
        (None, 0, "built without CUDA"),
        ("12.5.1", 0, "sees no GPU on gpu0"),
        ("13.0", 1, "serves no CUDA later than 12.8"),
    ],
)
def test_a_library_that_would_train_on_the_cpu(gpu_box: Box, cuda: str | None, seen: int, words: str) -> None:
    """The quietest failure of all: everything runs, forty times slower."""
    install_library(gpu_box, ["sm_90"], cuda)
    gpu_box.environment["GPUS_SEEN"] = str(seen)
    found = examine(gpu_box, "--devices", "0", code=1)
    assert any(words in each["text"] for each in found if each["level"] == "fail")


@pytest.mark.long
def test_an_interpreter_that_cannot_run(doctor_box: Box) -> None:
    """A virtual environment whose Python was upgraded away; the system's loader is the only one to tell."""
    broken = doctor_box.folder / "bare-python"
    broken.write_text("#!/bin/sh\necho 'libpython3.9.so: cannot open shared object file' >&2; exit 127\n")
    [found] = of(examine(doctor_box, code=1), "trial")
    assert found["level"] == "fail" and str(broken) in found["text"] and "libpython3.9.so" in found["text"]


@pytest.mark.long
def test_a_running_daemon_answers_and_its_drained_device_rests(doctor_box: Box) -> None:
    """What the operator took out of use is not tried."""
    doctor_box.daemon("--devices", "cpu")
    [daemon] = of(examine(doctor_box), "daemon")
    assert daemon["level"] == "ok" and "answers" in daemon["text"]
    doctor_box.run("drain", "cpu-0")
    [trial] = of(examine(doctor_box, "--devices", "cpu"), "trial")
    assert "none was tried" in trial["text"]


@pytest.mark.long
def test_the_embedded_broker_of_a_daemon(doctor_box: Box) -> None:
    """Its port is taken, by itself."""
    child = doctor_box.start("daemon", "--devices", "cpu")
    doctor_box.wait_for(child, "ready:")
    while (url := doctor_box.json("status")["mqtt"]) is None:
        pass
    [broker] = of(examine(doctor_box), "broker")
    assert broker["level"] == "ok" and url in broker["text"]


# ---- the real library ----


@pytest.mark.tensorflow
@pytest.mark.long
def test_the_real_library_on_the_cpu(box: Box) -> None:
    """What a trial of the built-in model finds, in its own interpreter."""
    box.environment["CUDA_VISIBLE_DEVICES"] = ""
    done = box.run("doctor", "--json")
    [found] = of(json.loads(done.stdout)["findings"], "trial")
    assert found["level"] == "ok" and "a trial process computes on cpu-0 (TensorFlow 2." in found["text"]


@pytest.mark.tensorflow
@pytest.mark.long
@pytest.mark.gcc
def test_the_real_library_finds_no_card_behind_the_stand_in(box: Box, fake_driver: FakeDriver) -> None:
    """It was built for an H100, as the wheel says itself; the card that only NVML knows can't be computed on."""
    box.environment |= fake_driver.env()
    found = json.loads(box.run("doctor", "--json", "--devices", "0", code=1).stdout)["findings"]
    assert [each["level"] for each in of(found, "kernels")] == ["ok"]
    assert any("sees no GPU on gpu0" in each["text"] for each in of(found, "trial"))
    assert list((box.folder / "leases").iterdir()) == []


@pytest.mark.long
def test_a_frozen_daemon_is_told_and_delays_nothing_for_long(doctor_box: Box) -> None:
    """It takes connections, so every other command waits for it for ever."""
    frozen = doctor_box.daemon("--devices", "cpu")
    frozen.send_signal(signal.SIGSTOP)
    try:
        found = examine(doctor_box, code=1)
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert [each["check"] for each in found if each["level"] == "fail"] == ["daemon"]
    assert "does not answer" in of(found, "daemon")[0]["text"]
    assert [each["level"] for each in of(found, "trial")] == ["ok"]
