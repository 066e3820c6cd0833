"""`cnnbo best --save` where nothing is to be trained any more, or must not be: all that needs no device."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.journals import journal_study
from typer.testing import CliRunner

from cnnbo.cli.app import app
from cnnbo.daemon.journal import read_journal
from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.events import Event, StudyCancelled, TrialCompleted, TrialFailed, TrialStarted
from cnnbo.scheduler.final import final_spec
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec, Task
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

SPEC = StudySpec(
    SearchSpace((FloatParameter("learning_rate", 0.0, 1.0),)),
    name="svhn",
    model="svhn-cnn",
    evaluations=1,
    metric="val_accuracy",
    start=({"learning_rate": 0.5},),
    data_dir="/data",
)
SCORE = {"test_images": 200.0, "test_correct": 180.0, "train_images": 500.0}

Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Runs `cnnbo best svhn --save …`; errors come through as the exceptions that `cnnbo` turns into text."""

    def run(target: Path, *flags: str, study: str = "svhn") -> str:
        arguments = ["best", study, "--save", str(target), "--state", str(tmp_path), *flags]
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def started(trial: int = 1) -> TrialStarted:
    return TrialStarted(2.0, trial, 1, "cpu-0")


def searched(state: Path, spec: StudySpec = SPEC) -> Study:
    """A study with a best trial."""
    return journal_study(state, spec, started(), TrialCompleted(3.0, 1, 1, 0.85))


def trained(state: Path, study: Study, end: Event | None = None) -> Path:
    """Its final training, which ended so; where the weights lie."""
    assert study.incumbent is not None
    completed = TrialCompleted(3.0, 1, 1, 0.9, SCORE, opened_test_set=True)
    final = journal_study(state, final_spec(study, study.incumbent), started(), end or completed)
    folder = state / "studies" / final.name / "trials" / "1" / "1"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"weights")
    return folder / "model.keras"


def test_what_was_trained_is_copied(save: Save, tmp_path: Path) -> None:
    """Without a daemon, without a training, as often as one likes; people read what it is worth and how to load it."""
    trained(tmp_path, searched(tmp_path))
    target = tmp_path / "model.keras"
    lines = save(target).splitlines()
    assert lines == [
        "test_accuracy 0.9: 180 of 200 images, after 500 to train on; "
        "trial 1 of svhn (val_accuracy 0.85) trained anew as svhn-best-1",
        "test set opened 1 time by svhn-best-1, 1 time by all studies here with these data",
        f"load it: import keras; model = keras.models.load_model({str(target)!r})",
    ]
    assert target.read_bytes() == b"weights"
    assert stat.S_IMODE(target.stat().st_mode) & 0o600 == 0o600
    facts = json.loads(save(target, "--json"))  # the same file again is no harm
    assert (facts["test_accuracy"], facts["test_set_openings"], facts["final_study"]) == (0.9, 1, "svhn-best-1")
    assert [path.name for path in tmp_path.glob("*.keras")] == ["model.keras"]


def test_another_file_is_replaced_only_by_force(save: Save, tmp_path: Path) -> None:
    """It may be last week's network, and weeks of work."""
    trained(tmp_path, searched(tmp_path))
    target = tmp_path / "model.keras"
    target.write_text("mine")
    with pytest.raises(RequestError, match="there is such a file; name another one, or replace it with --force"):
        save(target)
    assert target.read_text() == "mine"
    save(target, "--force")
    assert target.read_bytes() == b"weights"


def test_another_file_is_refused_before_hours_of_training(save: Save, tmp_path: Path) -> None:
    """No study was begun for it."""
    searched(tmp_path)
    (tmp_path / "model.keras").write_text("mine")
    with pytest.raises(RequestError, match="there is such a file"):
        save(tmp_path / "model.keras")
    assert [known.study.name for known in read_journal(tmp_path)[0]] == ["svhn"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("model.h5", "Keras loads files that end in .keras; try .*model.keras"),
        ("away/model.keras", "there is no folder .*away; make it first"),
        ("folder.keras", "this is a folder; name a file"),
    ],
)
def test_a_place_that_will_not_do_is_told_first(save: Save, tmp_path: Path, name: str, why: str) -> None:
    """Before anything is looked up or trained."""
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(RequestError, match=why):
        save(tmp_path / name, study="nothing")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": None, "command": ("true",)}, "trains with a command, .* cnnbo best svhn --format flags"),
        ({"model": "svhn-forest"}, "is of the model svhn-forest, which leaves no weights"),
    ],
)
def test_what_leaves_no_weights_is_told(save: Save, tmp_path: Path, changes: dict[str, object], why: str) -> None:
    """One sentence, and no training that would end with nothing to copy."""
    searched(tmp_path, replace(SPEC, **changes))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=why):
        save(tmp_path / "model.keras")


def test_without_a_value_there_is_no_best(save: Save, tmp_path: Path) -> None:
    """As without --save."""
    journal_study(tmp_path, SPEC)
    with pytest.raises(RequestError, match="study svhn has no completed trial yet"):
        save(tmp_path / "model.keras")
    with pytest.raises(RequestError, match=r"there is no study 'other' in .*; the studies there are: svhn"):
        save(tmp_path / "model.keras", study="other")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (
            TrialFailed(3.0, 1, 1, Failure.DIVERGED, "The loss was nan."),
            r"svhn-best-1 failed \(diverged: The loss was nan\); .* to train again: cnnbo retry svhn-best-1 1",
        ),
        (StudyCancelled(3.0), "svhn-best-1 was cancelled; to train again: cnnbo delete svhn-best-1"),
    ],
)
def test_a_training_that_came_to_nothing_is_told_with_the_way_on(
    save: Save, tmp_path: Path, end: Event, why: str
) -> None:
    """It isn't begun again unasked: it would fail the same way."""
    trained(tmp_path, searched(tmp_path), end)
    with pytest.raises(RequestError, match=why):
        save(tmp_path / "model.keras")


def test_weights_that_are_gone_are_named(save: Save, tmp_path: Path) -> None:
    """Somebody made room; the journal still knows the score."""
    trained(tmp_path, searched(tmp_path)).unlink()
    with pytest.raises(RequestError, match=r"model.keras is gone; to train it again: cnnbo retry svhn-best-1 1"):
        save(tmp_path / "model.keras")


def test_a_stranger_of_that_name_is_not_taken_for_the_training(save: Save, tmp_path: Path) -> None:
    """A study of one's own may be called svhn-best-1; its weights are another network's."""
    searched(tmp_path)
    journal_study(tmp_path, replace(SPEC, name="svhn-best-1", seed=9))
    with pytest.raises(RequestError, match=r"isn't this training \(another .*seed.*\); .* cnnbo delete svhn-best-1"):
        save(tmp_path / "model.keras")


def test_a_study_of_final_trainings_gives_its_best(save: Save, tmp_path: Path) -> None:
    """Those of a comparison have their networks already; to choose by the test set is said to be what it is."""
    final = replace(SPEC, name="svhn-final", evaluations=2, repeats=2, metric="test_accuracy")
    final = replace(final, trial=replace(final.trial, task=Task.FINAL))
    ends = [TrialCompleted(3.0, n, 1, n / 10, SCORE, opened_test_set=True) for n in (1, 2)]
    journal_study(tmp_path, final, started(1), ends[0], started(2), ends[1])
    folder = tmp_path / "studies/svhn-final/trials/2/1"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"of trial 2")
    first, second, _ = save(tmp_path / "model.keras", study="svhn-final").splitlines()
    assert "trial 2 of svhn-final, the best of 2 by this very score, which flatters it" in first
    assert "test set opened 2 times by svhn-final" in second
    assert (tmp_path / "model.keras").read_bytes() == b"of trial 2"


@pytest.mark.parametrize("flags", [["--force"], ["--devices", "cpu"], ["--save", "m.keras", "--format", "json"]])
def test_flags_that_mean_nothing_together_are_refused(tmp_path: Path, flags: list[str]) -> None:
    """Silently left aside they would look obeyed."""
    searched(tmp_path)
    done = CliRunner().invoke(app, ["best", "svhn", "--state", str(tmp_path), *flags])
    assert done.exit_code == 2
    assert "it goes with" in done.output
