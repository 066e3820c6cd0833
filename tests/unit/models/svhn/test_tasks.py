"""What each task trains on and is judged by, for both models, with the test set where it belongs: shut."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.models.desk import random_part

from cnnbo.models.registry import SVHN_FOREST
from cnnbo.models.report import TEST_SET_MARK, TrialContext
from cnnbo.models.svhn.chance import best_of_luck
from cnnbo.models.svhn.data import open_fold
from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.models.svhn.tasks import training_rows
from cnnbo.scheduler.errors import ConfigurationError

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")
pytestmark = pytest.mark.tensorflow

from cnnbo.models.svhn.train import Run, StoppedError  # noqa: E402 - after the skip

NETWORK = {
    "filter1_width": 3,
    "filter1_depth": 4,
    "filter2_width": 3,
    "filter2_depth": 5,
    "keep_probability": 0.8,
    "learning_rate": 1e-3,
    "momentum": 0.5,
    "decay": 0.5,
}
FOREST = dict(SVHN_FOREST.defaults) | {"n_estimators": 20}

# Runs a trial in a process of its own for each line, which names its folder. TensorFlow is imported once for all: that
# takes longer than what is to be seen here.
FORGE = """
import os, sys
from cnnbo.models.svhn import forest, train

for line in sys.stdin:
    module, folder = line.rstrip("\\n").split(" ", 1)
    if (pid := os.fork()) == 0:
        os.chdir(folder)
        os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT), 2)
        progress = os.open("progress", os.O_WRONLY | os.O_CREAT)
        os.environ |= {
            "CNNBO_TRIAL": f"{folder}/config.json",
            "CNNBO_RESULT": f"{folder}/result.json",
            "CNNBO_PROGRESS_FD": str(progress),
        }
        os._exit({"train": train, "forest": forest}[module].main())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a trial left in its folder."""

    folder: Path
    status: int

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def progress(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "progress").read_text().splitlines()]

    @property
    def phases(self) -> list[str]:
        return [line["phase"] for line in self.progress if "phase" in line]

    @property
    def result(self) -> dict[str, Any]:
        left: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return left

    @property
    def opened_test_set(self) -> bool:
        return (self.folder / TEST_SET_MARK).exists()


class Forge:
    """Runs trials of both models."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._run = 0

    def run(self, module: str, data: Path, **told: object) -> Ended:
        """Run a trial in an empty folder to its end."""
        self._run += 1
        folder = self._folder / str(self._run)
        folder.mkdir()
        always = {"study": "digits", "trial": 1, "attempt": 1, "seed": 11, "epochs": 1, "batch_size": 10}
        configuration = {"configuration": NETWORK if module == "train" else FOREST, "data_dir": str(data)}
        (folder / "config.json").write_text(json.dumps(always | configuration | told))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(module, folder, file=self._process.stdin, flush=True)
        while not (line := self._process.stdout.readline().strip()).lstrip("-").isdigit():
            assert line  # what the trial printed, until its exit status
        return Ended(folder, int(line))


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """A process that has imported TensorFlow and scikit-learn."""
    with subprocess.Popen(
        [sys.executable, "-c", FORGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Forge(process, tmp_path_factory.mktemp("attempts"))
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def folder(random_folder: Path) -> Path:
    """30 + 20 random images to tune on, and 12 to test on."""
    write_part(random_folder / FILES["test"], *random_part(12, seed=3))
    return random_folder


@pytest.fixture(params=["train", "forest"])
def module(request: pytest.FixtureRequest) -> str:
    """The training script of each model."""
    return str(request.param)


def test_a_final_training_sees_everything_and_scores_the_test_set(forge: Forge, folder: Path, module: str) -> None:
    """The one score that may be published: of all images, on images that nothing was chosen by; and it is noted."""
    ended = forge.run(module, folder, task="final")
    assert (ended.status, ended.stderr) == (0, "")
    metrics = ended.result["metrics"]
    assert set(metrics) == {"test_accuracy", "test_images", "test_correct", "train_images"}
    assert (metrics["train_images"], metrics["test_images"]) == (50, 12)
    assert ended.result["value"] == metrics["test_accuracy"] == metrics["test_correct"] / 12
    weights = {"model.keras"} if module == "train" else set()
    left = {path.name for path in ended.folder.iterdir()}
    assert left == {"config.json", "result.json", "progress", "stderr", TEST_SET_MARK} | weights
    assert (ended.phases[0], ended.phases[-2:]) == ("loading", ["training", "evaluating"])


@pytest.mark.parametrize("task", ["tune", "trace"])
def test_only_a_final_training_opens_the_test_set(forge: Forge, folder: Path, module: str, task: str) -> None:
    """Hold-out discipline: here it is a named pipe, which is no file to read and holds up whoever opens it."""
    (folder / FILES["test"]).unlink()
    os.mkfifo(folder / FILES["test"])
    ended = forge.run(module, folder, task=task, stop_at_chance=False)
    assert (ended.status, ended.stderr) == (0, "")
    assert "val_accuracy" in ended.result["metrics"]
    assert not ended.opened_test_set


def test_only_what_trials_are_compared_by_is_told_with_its_luck(forge: Forge, folder: Path, module: str) -> None:
    """A trace is a curve and a final training a score of the test set: neither is a trial of a search."""
    digits = open_fold(folder).validation_digits()
    bound = best_of_luck(np.bincount(digits).max(), len(digits))
    assert 0.1 < bound < 1
    for task in ("tune", "trace", "final"):
        ended = forge.run(module, folder, task=task, stop_at_chance=False)
        assert ended.result.get("chance") == (bound if task == "tune" else None)


def test_a_missing_test_set_is_told_before_the_training(forge: Forge, random_folder: Path, module: str) -> None:
    """Not after it: the hours would be lost. Nothing was opened then."""
    ended = forge.run(module, random_folder, task="final")
    assert (ended.status, len(ended.stderr.splitlines())) == (78, 1)
    assert "holds no test_32x32.mat" in ended.stderr
    assert (ended.phases, ended.opened_test_set) == (["loading"], False)


def test_the_weights_are_there_before_the_test_set_is_opened(forge: Forge, folder: Path) -> None:
    """Whatever is wrong with it: what was trained stays, and that it was looked into is known."""
    (folder / FILES["test"]).write_bytes(b"broken")
    ended = forge.run("train", folder, task="final")
    assert (ended.status, len(ended.stderr.splitlines())) == (78, 1)
    assert "test_32x32.mat can't be read" in ended.stderr
    written, opened = ((ended.folder / name).stat().st_mtime_ns for name in ("model.keras", TEST_SET_MARK))
    assert written <= opened
    assert not (ended.folder / "result.json").exists()


def test_a_final_training_that_failed_leaves_the_test_set_shut(forge: Forge, folder: Path) -> None:
    """There is nothing to score, so nobody has looked."""
    ended = forge.run("train", folder, task="final", configuration=NETWORK | {"learning_rate": 3e38})
    assert (ended.status, ended.result["failure"]) == (0, "diverged")
    assert not ended.opened_test_set
    assert not (ended.folder / "model.keras").exists()


def test_a_limit_takes_the_first_images_of_what_is_trained_on(folder: Path) -> None:
    """Trainings with more images then see those of the trainings with fewer."""
    fold = open_fold(folder)
    assert training_rows(fold, "tune", None) == training_rows(fold, "trace", 40) == range(40)
    assert training_rows(fold, "tune", 7) == range(7)
    assert training_rows(fold, "final", None) == range(50)
    with pytest.raises(ConfigurationError, match=r"trial\.images: 41 images are more than the 40"):
        training_rows(fold, "tune", 41)
    with pytest.raises(ConfigurationError, match=r"trial\.images: 51 images are more than the 50"):
        training_rows(fold, "final", 51)


def test_the_network_trains_on_as_many_images_as_wanted(forge: Forge, folder: Path) -> None:
    """20 of 40, four updates; the score is of the whole validation side, which is of ten."""
    ended = forge.run("train", folder, images=20, batch_size=5, stop_at_chance=False)
    assert [line["steps"] for line in ended.progress if "step" in line][-1] == 4
    assert (ended.result["value"] * 10) % 1 == 0


def test_the_forest_sees_no_other_images_than_wanted(forge: Forge, folder: Path) -> None:
    """Who is taught nothing but 7 answers nothing else, whatever stands beyond the limit."""
    fold = open_fold(folder)
    records = np.memmap(fold.path, np.uint8, "r+", shape=fold.records().shape)
    records[:20, 0] = 7
    records.flush()
    assert forge.run("forest", folder, images=20).result["value"] == (fold.validation_digits() == 7).mean()
    assert set(records[20:40, 0]) != {7}  # which would have been learnt


def test_too_many_images_are_refused_in_a_sentence(forge: Forge, folder: Path, module: str) -> None:
    """The data may have shrunk since they were prepared."""
    ended = forge.run(module, folder, images=1000)
    assert (ended.status, len(ended.stderr.splitlines())) == (78, 1)
    assert "1,000 images are more than the 40" in ended.stderr


def test_a_trace_keeps_its_curve(forge: Forge, folder: Path) -> None:
    """The sample is the whole validation side here, so the last point is the value."""
    ended = forge.run("train", folder, task="trace", stop_at_chance=True)  # which a trace doesn't obey
    metrics = ended.result["metrics"]
    assert set(metrics) == {"val_accuracy"} | {f"val_accuracy_at_{step}" for step in range(1, 5)}
    assert metrics["val_accuracy_at_4"] == metrics["val_accuracy"] == ended.result["value"]


def test_a_trace_that_leaves_the_numbers_keeps_its_curve_so_far(forge: Forge, folder: Path) -> None:
    """The figure shows where it broke off."""
    ended = forge.run("train", folder, task="trace", configuration=NETWORK | {"learning_rate": 3e38})
    assert (ended.status, ended.result["failure"]) == (0, "diverged")
    names = list(ended.result["metrics"])
    assert names == [f"val_accuracy_at_{step}" for step in range(1, len(names) + 1)]
    assert 0 < len(names) < 4


def test_an_interrupted_trace_has_the_same_curve(folder: Path, tmp_path: Path) -> None:
    """Its first points come from the checkpoint: point by point what an undisturbed training comes to."""
    fold = open_fold(folder)
    told = TrialContext("digits", 1, 1, 5, NETWORK, 1, 14, folder, checkpoint_dir=tmp_path, task="trace")
    undisturbed = Run(replace(told, checkpoint_dir=None), fold)
    undisturbed.train()
    stopped = Run(told, fold)
    stopped.stop()
    with pytest.raises(StoppedError):
        stopped.train()
    goes_on = Run(told, fold)
    goes_on.train()
    assert goes_on.begin == 1
    assert goes_on.curve == undisturbed.curve
    assert len(goes_on.curve) == 3


def test_a_checkpoint_of_another_task_is_left_aside(folder: Path, tmp_path: Path) -> None:
    """It was trained on other images, or knows another curve."""
    fold = open_fold(folder)
    told = TrialContext("digits", 1, 1, 5, NETWORK, 1, 10, folder, checkpoint_dir=tmp_path)
    run = Run(told, fold)
    run.stop()
    with pytest.raises(StoppedError):
        run.train()
    assert Run(replace(told, task="trace"), fold).begin == 0
    assert Run(replace(told, images=39), fold).begin == 0
    assert Run(replace(told, images=40), fold).begin == 1  # which is all of them


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--images", "41"], "41 images are more than the 40"),
        (["--task", "final"], "holds no test_32x32.mat"),
        (["--task", "trace", "--images", "40"], ""),
    ],
)
def test_what_a_task_would_miss_is_told_at_the_preparation(
    random_folder: Path, arguments: list[str], sentence: str
) -> None:
    """In the second of the submission, when somebody is there to read it."""
    done = prepare(random_folder, *arguments)
    assert done.returncode == (78 if sentence else 0)
    assert sentence in done.stderr and len(done.stderr.splitlines()) == bool(sentence)


def test_preparing_does_not_open_the_test_set(random_folder: Path) -> None:
    """It has to be there, and is nobody's business yet: whoever read this one would complain."""
    (random_folder / FILES["test"]).write_bytes(b"broken")
    assert prepare(random_folder, "--task", "final").returncode == 0


def prepare(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the command that the daemon runs before the first trial."""
    command = [sys.executable, "-m", "cnnbo.models.svhn.prepare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
