"""What the unit forbids, while trials train under it.

On a kernel with the old control groups, as in most containers, DeviceAllow has no effect that could be seen here.
"""

import re

import pytest
from tests.systemd.conftest import STATE, finish, printed, submit
from tests.systemd.machine import CNNBO, Machine

pytestmark = pytest.mark.systemd

TENSORFLOW_STUDY = """\
name = "digits"
model = "svhn-cnn"
evaluations = 1
optimizer = "random"
initial = 1
[data]
dir = "/srv/digits"
[trial]
batch_size = 50
stop_at_chance = false
"""

WRITER = """\
import pathlib

for folder in ("/etc/open", "/home/alice/open", "/srv/open", "/usr/open", "/var/lib/cnnbo", "/tmp"):
    try:
        pathlib.Path(folder, "written").write_text("by a trial")
    except OSError as error:
        print(folder, error.strerror)
    else:
        print(folder, "written")
print("val_acc: 1.0")
"""


def test_the_running_unit_is_hardened(service: Machine) -> None:
    """Judged by systemd itself, over what is in force and not what stands in a file."""
    said = service.run("systemd-analyze", "security", "--no-pager", "cnnbo.service").stdout
    found = re.search(r"Overall exposure level for cnnbo\.service: ([0-9.]+)", said)
    assert found is not None and float(found[1]) <= 2.5


def test_a_network_trains_under_the_whole_unit(service: Machine) -> None:
    """Hardening that breaks TensorFlow would be found out on the first real box."""
    small = ("--train", "400", "--extra", "100", "--test", "100")
    service.run(CNNBO, "data", "synth", "/srv/digits", *small)
    service.write("/srv/study/digits.toml", TENSORFLOW_STUDY)
    service.run(CNNBO, "submit", "/srv/study/digits.toml", "--state", STATE)
    [trial] = finish(service, "digits")
    assert trial["state"] == "complete" and isinstance(trial["value"], float), printed(service, "digits", 1)
    service.run("rm", "-r", "/srv/digits")


def test_a_trial_writes_nowhere_but_into_its_own_folders(service: Machine) -> None:
    """Whoever may submit a command must not be able to change the box, even where folders are open to all."""
    opened = ("/etc/open", "/home/alice/open", "/srv/open", "/usr/open")
    for folder in opened:
        service.run("install", "-d", "-m", "0777", folder)
    service.run("chmod", "o+x", "/home/alice")
    script = service.root / "srv/study/train.py"
    training = script.read_text()
    script.write_text(WRITER)
    try:
        submit(service, "writer", evaluations=1)
        finish(service, "writer")
    finally:
        script.write_text(training)
    said = printed(service, "writer", 1)
    assert all(f"{folder} Read-only file system" in said for folder in opened), said
    assert "/var/lib/cnnbo written" in said and "/tmp written" in said
    assert not (service.root / "tmp/written").exists()
    service.run("rmdir", *opened)
