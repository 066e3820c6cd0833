"""`cnnbo best --save` and the guard of the test set, with real daemons and real trainings."""

import json
import os
import signal
import sys
import zipfile

import pytest
from tests.integration.conftest import Box
from tests.journals import journal_study
from tests.unit.models.desk import random_part

from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.scheduler.events import TrialCompleted, TrialStarted
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Origin, StudySpec

SAVE = ("best", "digits", "--save", "model.keras")


pytestmark = pytest.mark.tensorflow  # without it a study of the built-in model is refused


@pytest.fixture
def searched(box: Box) -> Box:
    """A box without MQTT whose study `digits` has ended with a best trial, on 30 + 20 images."""
    data = box.folder / "data"
    data.mkdir()
    for seed, (part, count) in enumerate((("train", 30), ("extra", 20), ("test", 12))):
        write_part(data / FILES[part], *random_part(count, seed))
    box.state.mkdir(mode=0o700)
    box.environment["CNNBO_MQTT_ENABLED"] = "false"
    spec = StudySpec(
        SearchSpace((FloatParameter("learning_rate", 1e-5, 1.0, "log"),)),
        name="digits",
        model="svhn-cnn",
        evaluations=1,
        metric="val_accuracy",
        start=({"learning_rate": 1e-3},),
        data_dir=str(data),
        origin=Origin(cwd=str(box.folder), environment=dict(os.environ), python=sys.executable),
    )
    journal_study(box.state, spec, TrialStarted(2.0, 1, 1, "cpu-0"), TrialCompleted(3.0, 1, 1, 0.5))
    return box


@pytest.mark.long
def test_the_best_network_is_trained_once_and_then_copied(searched: Box) -> None:
    """The whole way in one's own foreground; the second time nothing starts, and the test set stays shut."""
    done = searched.run(*SAVE, "--devices", "cpu:1")
    assert done.stdout.startswith("test_accuracy 0.")
    assert "12 images, after 50 to train on; trial 1 of digits (val_accuracy 0.5) trained anew" in done.stdout
    assert "test_accuracy 0." in done.stderr  # the course of the training, as `cnnbo run` tells it
    assert zipfile.is_zipfile(searched.folder / "model.keras")
    facts = searched.json("best", "digits", "--save", "again.keras")
    assert (facts["test_set_openings"], facts["test_set_openings_in_all"]) == (1, 1)
    kept = (searched.folder / "model.keras").read_bytes()
    assert (searched.folder / "again.keras").read_bytes() == kept
    shown = searched.json("show", "digits-best-1")
    assert (shown["test_set_openings"], shown["trials"][0]["value"]) == (1, facts["test_accuracy"])
    assert searched.json("show", "digits")["test_set_openings"] == 0


def test_without_a_test_set_nothing_is_trained(searched: Box) -> None:
    """Told by the daemon that is there, before the training, as one mistake in what was asked for."""
    (searched.folder / "data" / FILES["test"]).unlink()
    searched.daemon("--devices", "cpu:1")
    done = searched.run(*SAVE, code=78)
    told = [line for line in done.stderr.splitlines() if "daemon works in" not in line]
    assert len(told) == 1
    assert "holds no test_32x32.mat" in told[0]
    assert [study["name"] for study in searched.json("status")["studies"]] == ["digits"]


def test_ctrl_c_saves_nothing_and_says_how_to_go_on(searched: Box) -> None:
    """The training is paused, like any study in the foreground; no file claims to be the network."""
    saving = searched.start(*SAVE, "--devices", "cpu:1")
    searched.wait_for(saving, "study digits-best-1")
    saving.send_signal(signal.SIGINT)
    output = saving.communicate(timeout=60)[0]
    assert saving.returncode == 130, output
    assert output.splitlines()[-1].startswith("nothing is saved yet; the same command goes on")
    assert not (searched.folder / "model.keras").exists()
    assert searched.json("show", "digits-best-1")["state"] == "paused"


STUDY = f"""\
name = "look"
command = ["python", "train.py"]
evaluations = 1
optimizer = "sobol"
[space]
x = {{ type = "float", low = 0, high = 1 }}
[trial]
python = "{sys.executable}"
"""

SCRIPT = """\
import pathlib, signal
from cnnbo.models import report
report.test_set_opened()
if report.trial().attempt == 1:
    pathlib.Path("waits").write_text("opened")
    signal.pause()
report.result(0.5)
"""


def test_a_kill_of_everything_hides_no_look_at_the_test_set(box: Box) -> None:
    """A script that takes part: seen by an attempt that was killed with its daemon, and by the one after it."""
    study = box.write_study(lambda _: STUDY, SCRIPT)
    os.mkfifo(box.folder / "waits")
    first = box.start("run", study, "--devices", "cpu:1", "--no-mqtt")
    assert (box.folder / "waits").read_text() == "opened"
    first.kill()
    first.wait()
    shown = json.loads(box.run("run", study, "--devices", "cpu:1", "--no-mqtt", "--json").stdout)
    assert [attempt["outcome"] for attempt in shown["trials"][0]["attempts"]] == ["interrupted", "complete"]
    assert shown["test_set_openings"] == 2
    assert "test set opened 2 times" in box.run("show", "look").stdout
