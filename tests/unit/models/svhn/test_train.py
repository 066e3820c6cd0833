import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.models.desk import Desk

from cnnbo.models.report import TrialContext
from cnnbo.models.svhn.chance import Score
from cnnbo.models.svhn.data import Fold, open_fold
from cnnbo.models.svhn.layout import FILES, write_part

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

from cnnbo.models.svhn.synth import draw  # noqa: E402 - after the skip
from cnnbo.models.svhn.train import DivergedError, Run, StoppedError, block_ends  # noqa: E402

SMALL = {
    "filter1_width": 3,
    "filter1_depth": 8,
    "filter2_width": 3,
    "filter2_depth": 12,
    "keep_probability": 0.8,
    "learning_rate": 1e-3,
    "momentum": 0.5,
    "decay": 0.5,
}


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 + 250 drawn digits, enough to learn something from in one epoch."""
    folder = tmp_path_factory.mktemp("digits")
    for part, count in (("train", 1000), ("extra", 250)):
        write_part(folder / FILES[part], *draw(count, (0, count)))
    return folder


@pytest.fixture
def fold(digits_folder: Path) -> Fold:
    """The drawn digits, ready to train on."""
    return open_fold(digits_folder)


def context(**changes: float) -> TrialContext:
    """A trial of the small configuration, with some parameters changed."""
    return TrialContext("digits", 1, 1, seed=5, configuration=SMALL | changes, epochs=1, batch_size=10)


def start(desk: Desk, *arguments: str) -> "subprocess.Popen[str]":
    """Start Python at a desk as the daemon would, on one core."""
    core = min(os.sched_getaffinity(0))
    return subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, *arguments],
        env=os.environ | desk.environment,
        pass_fds=[int(desk.environment["CNNBO_PROGRESS_FD"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


TRAIN = ("-m", "cnnbo.models.svhn.train")


def run_trial(desk: Desk, folder: Path, **changes: float) -> tuple[int, str]:
    """Run a trial to its end; its exit status, and what it wrote to standard error."""
    desk.write_trial(
        configuration=SMALL | changes,
        epochs=1,
        batch_size=10,
        data_dir=str(folder),
        checkpoint_dir=str(desk.checkpoints),
    )
    with start(desk, *TRAIN) as trial:
        _, stderr = trial.communicate()
    return trial.returncode, stderr


def test_a_trial_learns_and_can_be_repeated(desk: Desk, digits_folder: Path) -> None:
    """The whole contract in new processes: value, progress, a quiet log, and the same value for the same seed."""
    before = desk.checkpoints.stat().st_mtime_ns
    assert run_trial(desk, digits_folder) == (0, "")
    assert desk.checkpoints.stat().st_mtime_ns == before  # one epoch pays nothing for being able to go on
    value = desk.result()["value"]
    assert isinstance(value, float)
    assert value > 0.3
    assert 0.1 < float(str(desk.result()["chance"])) < 0.3
    told = desk.progress()
    phases = [line["phase"] for line in told if "phase" in line]
    assert phases == ["loading", "compiling", "training", "evaluating"]
    lines = [line for line in told if "step" in line]
    assert lines[-1].items() >= {"step": 100, "steps": 100, "epoch": 1, "epochs": 1}.items()
    metrics = lines[-1]["metrics"]
    assert isinstance(metrics, dict)
    assert set(metrics) == {"loss", "accuracy", "val_accuracy"}
    run_trial(desk, digits_folder)
    assert desk.result()["value"] == value


def test_a_network_that_does_not_fit_is_out_of_memory(desk: Desk, digits_folder: Path) -> None:
    """The optimizer must learn to stay away, so it is a failure of the configuration and no crash."""
    status, _ = run_trial(desk, digits_folder, filter2_depth=10**9)
    assert status == 0
    assert desk.result()["failure"] == "out_of_memory"


def test_bad_data_end_a_trial_with_one_line(desk: Desk, tmp_path: Path) -> None:
    """Data can vanish between preparing and training; the log then says so, without a traceback."""
    status, stderr = run_trial(desk, tmp_path / "gone")
    assert status == 78
    assert len(stderr.splitlines()) == 1
    assert "gone is not a folder" in stderr


def test_a_stop_leaves_a_checkpoint_even_within_the_only_epoch(fold: Fold, tmp_path: Path) -> None:
    """An epoch may take hours; afterwards the disk is as empty as before."""
    told = replace(context(), batch_size=200, checkpoint_dir=tmp_path, stop_at_chance=False)
    stopped = Run(told, fold)
    stopped.stop()
    with pytest.raises(StoppedError, match="asked to end at step 1 of 5"):
        stopped.train()
    goes_on = Run(told, fold)
    goes_on.train()
    assert (goes_on.begin, int(goes_on.trainer.step)) == (1, 5)
    goes_on.forget()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_training_is_left_aside(
    fold: Fold, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Going on from it would be neither this training nor the other."""
    told = replace(context(), checkpoint_dir=tmp_path)
    stopped = Run(told, fold)
    stopped.stop()
    with pytest.raises(StoppedError):
        stopped.train()
    others: dict[str, tuple[TrialContext, Fold]] = {
        "seed": (replace(told, seed=6), fold),
        "epochs": (replace(told, epochs=2), fold),
        "batch_size": (replace(told, batch_size=20), fold),
        "configuration": (replace(told, configuration=SMALL | {"decay": 0.6}), fold),
        "data": (told, replace(fold, path=fold.path.with_name("fold-of-other-images.bin"))),
    }
    for named, (other, other_fold) in others.items():
        assert Run(other, other_fold).begin == 0
        assert f"is of another training (its {named} differ)" in capsys.readouterr().err
    assert Run(told, fold).begin == 1


def test_a_stop_keeps_what_the_checks_have_seen(fold: Fold, tmp_path: Path) -> None:
    """A stuck network meets the rule at the same step, even if it is interrupted at every one."""
    told = replace(context(learning_rate=0.3, momentum=0.9), batch_size=100, checkpoint_dir=tmp_path)
    undisturbed = Run(replace(told, checkpoint_dir=None), fold)
    score = undisturbed.train()
    assert 0 < int(undisturbed.trainer.step) < 10
    interrupted: Score | None = None
    while interrupted is None:
        run = Run(told, fold)
        run.stop()
        with contextlib.suppress(StoppedError):
            interrupted = run.train()
    assert (interrupted, int(run.trainer.step)) == (score, int(undisturbed.trainer.step))


def test_a_stuck_network_ends_early_with_the_score_it_has_there(desk: Desk, digits_folder: Path) -> None:
    """Half a training saved, and nothing failed: the value is of the whole validation side, and luck."""
    assert run_trial(desk, digits_folder, learning_rate=0.3, momentum=0.9) == (0, "")
    left = desk.result()
    value, chance = float(str(left["value"])), float(str(left["chance"]))
    assert left["metrics"] == {"val_accuracy": value}
    assert 0 < value <= chance < 0.3
    assert value * 250 == pytest.approx(round(value * 250))
    assert desk.progress()[-1] == {"phase": "evaluating"}


def test_the_log_says_why_a_training_ended_early(fold: Fold, capsys: pytest.CaptureFixture[str]) -> None:
    """The trial completes, so no message of a failure says it."""
    run = Run(context(learning_rate=0.3, momentum=0.9), fold)
    run.train()
    said = (
        rf"stuck at the majority class: at step {int(run.trainer.step)} of 100 every image still gets the same answer"
    )
    assert re.match(said, capsys.readouterr().out)
    assert int(run.trainer.step) in range(20, 100, 10)


def test_a_network_that_learnt_nothing_comes_to_its_end_at_chance(fold: Fold) -> None:
    """It answers this and that, so no check stops it, and scores no better than luck."""
    run = Run(context(learning_rate=1e-9), fold)
    score = run.train()
    assert int(run.trainer.step) == 100
    assert 0 < score.accuracy <= score.chance < 0.3


def test_stopping_at_chance_can_be_turned_off(fold: Fold) -> None:
    """To repeat 2016, where such networks were trained like any other; luck explains what they come to all the same."""
    run = Run(replace(context(learning_rate=0.3, momentum=0.9), stop_at_chance=False), fold)
    score = run.train()
    assert int(run.trainer.step) == 100
    assert score.accuracy <= score.chance


def test_a_loss_that_leaves_the_numbers_ends_the_trial(fold: Fold) -> None:
    """Whatever `stop_at_chance` says: there is nothing to go on with."""
    with pytest.raises(DivergedError, match=r"the loss was (nan|inf) between step [0-9]+ and step [0-9]+"):
        Run(replace(context(learning_rate=3e38), stop_at_chance=False), fold).train()


# Runs the trial in a process of its own for each line it reads; one that is trained tells its weights and slots.
# TensorFlow is imported once for all: that takes longer than what is to be seen here.
ATTEMPTS = """
import hashlib, os, sys
from cnnbo.models.svhn import train

class Telling(train.Run):
    def train(self):
        score = super().train()
        print(*(hashlib.sha256(array.tobytes()).hexdigest() for array in self.trainer.state()), flush=True)
        return score

train.Run = Telling
for _ in sys.stdin:
    if (pid := os.fork()) == 0:
        print(os.getpid(), flush=True)
        os._exit(train.main())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_an_interrupted_training_comes_to_the_same_value_and_weights(desk: Desk, digits_folder: Path) -> None:
    """Killed after an epoch, asked to end within the next: bit for bit what an undisturbed training comes to."""
    told = {"configuration": SMALL, "epochs": 3, "batch_size": 10, "data_dir": str(digits_folder)}
    desk.write_trial(**told, checkpoint_dir=str(desk.checkpoints))
    with start(desk, "-c", ATTEMPTS) as attempts:

        def says() -> str:
            assert attempts.stdout is not None
            return attempts.stdout.readline().rstrip()

        def begin() -> int:
            """Start an attempt; its pid."""
            assert attempts.stdin is not None
            print(file=attempts.stdin, flush=True)
            return int(says())

        killed = begin()
        assert desk.await_step(101)["epoch"] == 2
        os.kill(killed, signal.SIGKILL)
        assert int(says()) == -signal.SIGKILL

        stopped = begin()
        assert says() == "goes on from the checkpoint of step 100"
        os.kill(stopped, signal.SIGTERM)
        assert int(says()) == 128 + signal.SIGTERM
        assert not (desk.folder / "result.json").exists()

        begin()
        assert int(says().removeprefix("goes on from the checkpoint of step ")) > 100
        weights_and_slots = says().split()
        assert int(says()) == 0
        interrupted = desk.result()
        assert list(desk.checkpoints.iterdir()) == []

        desk.write_trial(**told, checkpoint_dir=None)
        begin()
        assert says().split() == weights_and_slots
        assert len(weights_and_slots) == 3 * 8 + 1  # eight variables with two slots each; the step
        assert int(says()) == 0
        assert interrupted == desk.result() | {"resumed": True}


def ends_when_a_step_takes(step_s: float, steps: int, checks: frozenset[int]) -> list[int]:
    """The block ends of a machine on which every step takes the same time."""
    now = 0.0

    def clock() -> float:
        return now

    ends, blocks = [0], block_ends(0, steps, checks, clock)
    for end in blocks:
        now += step_s * (end - ends[-1])
        ends.append(end)
    return ends[1:]


def sizes(ends: list[int]) -> Iterator[int]:
    """Lengths of the blocks that end there."""
    return (end - begin for begin, end in zip([0, *ends], ends, strict=False))


def test_blocks_grow_to_the_pace_of_reports() -> None:
    """A report about once a second: doubling from a single step, up to between half a second and one."""
    ends = ends_when_a_step_takes(0.01, 1000, frozenset())
    assert ends[:6] == [1, 3, 7, 15, 31, 63]
    assert max(sizes(ends)) == 64
    assert ends[-1] == 1000


def test_blocks_of_slow_steps_are_single_steps() -> None:
    """Where a step takes longer than a second, every one is reported."""
    assert ends_when_a_step_takes(5.0, 4, frozenset()) == [1, 2, 3, 4]


def test_no_block_reaches_over_a_check() -> None:
    """The checks stand at fixed steps, so that the rule gives the same verdict on any machine."""
    for step_s in (0.0001, 0.01, 0.4):
        assert {20, 30, 90} <= set(ends_when_a_step_takes(step_s, 100, frozenset({20, 30, 90})))
