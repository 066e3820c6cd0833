import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tests.unit.models.desk import Desk

from cnnbo.models import report
from cnnbo.scheduler.spec import Task


def test_a_script_learns_its_trial(told: Desk) -> None:
    """Everything of the contract's file arrives, typed."""
    told.write_trial(
        epochs=3, batch_size=50, data_dir="/data", checkpoint_dir="/keep", stop_at_chance=False, images=9, task="trace"
    )
    context = report.trial()
    assert context == report.TrialContext(
        study="digits",
        trial=7,
        attempt=2,
        seed=11,
        configuration={"learning_rate": 0.1},
        epochs=3,
        batch_size=50,
        data_dir=Path("/data"),
        checkpoint_dir=Path("/keep"),
        stop_at_chance=False,
        images=9,
        task="trace",
    )


def test_the_tasks_are_those_that_studies_have() -> None:
    """Said twice, since this module may import nothing of ours."""
    assert get_args(report.Task) == tuple(Task)


def test_keys_of_another_version_are_no_problem(told: Desk) -> None:
    """Keys are only ever added: an older script meets unknown ones, a newer one misses some."""
    told.write_trial(a_key_of_tomorrow=1, data_dir=None)
    context = report.trial()
    assert (context.stop_at_chance, context.data_dir, context.epochs) == (True, None, None)
    assert (context.images, context.task) == (None, "tune")


def test_progress_is_one_json_object_a_line(told: Desk) -> None:
    """The form of the contract; what isn't told and what isn't finite is left out."""
    report.progress(step=3, steps=10, epoch=1, epochs=2, accuracy=0.5, loss=float("nan"))
    report.progress(step=4)
    assert told.progress() == [
        {"step": 3, "steps": 10, "epoch": 1, "epochs": 2, "metrics": {"accuracy": 0.5}},
        {"step": 4, "metrics": {}},
    ]


def test_a_script_says_what_it_is_at(told: Desk) -> None:
    """Where the time of a device goes is known only to the training."""
    report.phase("compiling")
    report.phase("training")
    assert told.progress() == [{"phase": "compiling"}, {"phase": "training"}]


def test_a_listener_that_stopped_reading_does_not_stop_the_training(told: Desk) -> None:
    """A full pipe drops news instead of blocking, and never leaves half a line; the test would hang otherwise."""
    for step in range(5000):
        report.progress(step=step, accuracy=0.123456789)
    received = told.progress()
    assert 0 < len(received) < 5000
    assert [line["step"] for line in received] == list(range(len(received)))


def test_a_listener_that_died_does_not_stop_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon may be killed while a trial goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv("CNNBO_PROGRESS_FD", str(writing))
    report.progress(step=1)
    os.close(writing)
    report.progress(step=2)


def test_a_result_is_a_value_with_metrics(told: Desk) -> None:
    """The form of the contract, and nothing but the result file is left behind."""
    report.result(0.93, val_loss=0.2, test=float("inf"))
    assert told.result() == {"value": 0.93, "metrics": {"val_loss": 0.2}}
    assert {path.name for path in told.folder.iterdir()} == {"checkpoints", "result.json"}


@pytest.mark.parametrize(("chance", "left"), [(0.14, {"chance": 0.14}), (None, {}), (float("nan"), {})])
def test_a_result_says_what_luck_explains(told: Desk, chance: float | None, left: dict[str, float]) -> None:
    """What isn't finite is left out, as it is of the metrics: JSON has no word for it."""
    report.result(0.93, chance=chance, val_loss=0.2)
    assert told.result() == {"value": 0.93, "metrics": {"val_loss": 0.2}} | left


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_value_that_is_no_number_is_diverged(told: Desk, value: float) -> None:
    """JSON has no NaN, and the contract calls it `diverged`."""
    report.result(value, chance=0.1, val_loss=2.0)
    left = told.result()
    assert (left["failure"], left["metrics"]) == ("diverged", {"val_loss": 2.0})


def test_a_failure_names_its_kind_and_keeps_metrics(told: Desk) -> None:
    """What was measured before is kept though it is no value."""
    report.failure("out_of_memory", "too wide", val_accuracy=0.1)
    assert told.result() == {"failure": "out_of_memory", "message": "too wide", "metrics": {"val_accuracy": 0.1}}


def test_an_attempt_that_goes_on_says_so_in_its_result(desk: Desk) -> None:
    """Said once, when the checkpoint was restored; whatever the attempt comes to then carries it."""
    for end in ("result(0.5)", "failure('diverged', 'why')"):
        left = []
        for said in ("", "report.resumed(); "):
            code = f"from cnnbo.models import report; {said}report.{end}"
            subprocess.run([sys.executable, "-c", code], env=os.environ | desk.environment, check=True)
            left.append(desk.result())
        assert left[1] == left[0] | {"resumed": True}
        assert "resumed" not in left[0]


def test_opening_the_test_set_is_noted_at_once(told: Desk) -> None:
    """A kill in the next moment must not hide it, so it is there before the call returns; twice is no error."""
    report.test_set_opened()
    report.test_set_opened()
    assert {path.name for path in told.folder.iterdir()} == {"checkpoints", report.TEST_SET_MARK}


def test_alone_a_script_runs_and_reports_to_nobody(tmp_path: Path) -> None:
    """The same script runs without cnnbo; only asking for a trial says that there is none."""
    code = (
        "from cnnbo.models import report\n"
        "report.resumed(); report.progress(step=1, loss=2.0); report.test_set_opened(); report.result(1.0)\n"
        "report.failure('diverged', 'x')\n"
        "try: report.trial()\n"
        "except RuntimeError as error: print(error)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CNNBO_")}
    command = [sys.executable, "-c", code]
    alone = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "not started by cnnbo" in alone.stdout
    assert list(tmp_path.iterdir()) == []


def test_reporting_needs_the_standard_library_only() -> None:
    """It is imported into training environments that have nothing of ours."""
    code = "import sys, cnnbo.models.report; print(*({'numpy', 'scipy', 'pydantic', 'rich'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
