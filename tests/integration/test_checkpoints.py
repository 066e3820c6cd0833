"""Interrupted trials go on where they were, with the scripts of `docs/checkpoints.md` as they stand there."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.conftest import Box

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"

STUDY = f"""\
name = "resumable"
command = ["python", "train.py"]
evaluations = 1
optimizer = "sobol"
metric = "loss"
direction = "minimize"
[space]
learning_rate = {{ type = "float", low = 0.01, high = 0.5 }}
[trial]
python = "{sys.executable}"
"""

# Before a recipe: notes its epochs, and holds its first attempt up after the third, as soon as it has said so.
GATE = """
import pathlib, time
from cnnbo.models import report

def _noted(epoch, _progress=report.progress, **told):
    _progress(epoch=epoch, **told)
    with open("epochs", "a") as epochs:
        print(epoch, file=epochs)
    if epoch == 3 and trial.attempt == 1:
        pathlib.Path("waits").write_text("epoch 3")
        while not globals().get("is_asked_to_end"):
            time.sleep(0.01)

report.progress = _noted
"""


def recipe(heading: str) -> str:
    """The script under a heading of the page."""
    found = re.search(rf"### {heading}\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_plain_recipe_goes_on_where_it_was(box: Box) -> None:
    """Paused at once and resumed: no epoch is trained twice, and the value is that of an undisturbed training."""
    study = box.write_study(lambda _: STUDY, GATE + recipe("Plain Python, PyTorch"))
    os.mkfifo(box.folder / "waits")
    box.daemon("--devices", "cpu:1")
    box.run("submit", study)
    assert (box.folder / "waits").read_text() == "epoch 3"
    box.run("pause", "resumable", "--now")
    assert "finished: best" in box.run("run", study).stdout
    assert (box.folder / "epochs").read_text().split() == [str(epoch) for epoch in range(1, 21)]
    [trial] = box.json("trials", "resumable")
    seen = [(attempt["outcome"], attempt["resumed"]) for attempt in trial["attempts"]]
    assert seen == [("interrupted", False), ("complete", True)]
    assert trial["resumed"] is True
    assert "complete, resumed from a checkpoint" in box.run("show", "resumable", "1").stdout
    folder = box.state / "studies/resumable/trials/1"
    assert list((folder / "checkpoints").iterdir()) == []
    assert trial["value"] == undisturbed(box.folder, json.loads((folder / "2" / "config.json").read_text()))


def undisturbed(folder: Path, config: dict[str, object]) -> object:
    """The value of the plain recipe without an interruption."""
    checkpoints = folder / "undisturbed"
    checkpoints.mkdir()
    told, result = folder / "told.json", folder / "result.json"
    told.write_text(json.dumps(config | {"checkpoint_dir": str(checkpoints)}))
    environment = os.environ | {"CNNBO_TRIAL": str(told), "CNNBO_RESULT": str(result)}
    code = recipe("Plain Python, PyTorch")
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return json.loads(result.read_text())["value"]


# Two attempts at a trial of the Keras recipe, each in a process of its own; Keras is imported once, which takes long.
KERAS = """
import json, os, pathlib, runpy, keras

for attempt in (1, 2):
    told = {"study": "s", "trial": 1, "attempt": attempt, "seed": 5, "configuration": {"learning_rate": 0.01}}
    pathlib.Path("told.json").write_text(json.dumps(told | {"checkpoint_dir": "checkpoints"}))
    if (pid := os.fork()) == 0:
        print(os.getpid(), flush=True)
        runpy.run_path("train.py")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.tensorflow
def test_the_keras_recipe_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed after three epochs, it trains the other three and says so."""
    (tmp_path / "train.py").write_text(GATE + recipe("Keras"))
    (tmp_path / "checkpoints").mkdir()
    os.mkfifo(tmp_path / "waits")
    environment = {"CNNBO_TRIAL": "told.json", "CNNBO_RESULT": "result.json", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        [sys.executable, "-c", KERAS], cwd=tmp_path, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as attempts:
        assert attempts.stdout is not None
        killed = int(attempts.stdout.readline())
        assert (tmp_path / "waits").read_text() == "epoch 3"
        os.kill(killed, signal.SIGKILL)
        said = attempts.stdout.read().splitlines()
    assert (str(-signal.SIGKILL) in said, said[-1]) == (True, "0")
    assert (tmp_path / "epochs").read_text().split() == ["1", "2", "3", "4", "5", "6"]
    assert json.loads((tmp_path / "result.json").read_text())["resumed"] is True
    assert list((tmp_path / "checkpoints").iterdir()) == []
