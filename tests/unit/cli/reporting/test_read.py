"""From a state folder to one record: the right studies, their devices, their time, their images."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.comparisons import BEGIN, DEVICES, Played, comparison
from tests.journals import write_state

from cnnbo.cli.reporting.read import Record, read_record
from cnnbo.models.svhn.synth import write_dataset
from cnnbo.scheduler import FloatParameter, SearchSpace
from cnnbo.scheduler.errors import ConfigurationError, RequestError
from cnnbo.scheduler.events import TrialCompleted, TrialStarted
from cnnbo.scheduler.spec import Budget, StudySpec

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="alone", command=("train",), optimizer="random")
PLAYED = comparison()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a comparison and a study beside it, whose only trial still runs."""
    alone = Played(SPEC)
    alone.propose(BEGIN)
    alone.take(TrialStarted(BEGIN + 1.0, 1, 1, "cpu-1"))
    return write_state(tmp_path / "state", [*PLAYED, alone])


def read(state: Path, name: str) -> Record:
    return read_record(state, name, (1, 4), BEGIN + 1e6)


def test_a_comparison_is_all_of_its_studies(state: Path) -> None:
    """Whatever belongs to it is told together."""
    record = read(state, "small")
    assert record.members is not None
    assert {study.name for study in record.studies} == {played.study.name for played in PLAYED}
    assert record.spec.part is not None and record.spec.part.method
    assert not record.is_bundle


def test_a_part_of_a_comparison_can_be_reported_alone(state: Path) -> None:
    """One run may be of interest by itself."""
    record = read(state, "small-bo-1")
    assert record.members is None
    assert [study.name for study in record.studies] == ["small-bo-1"]


def test_times_and_devices_are_those_of_the_trials(state: Path) -> None:
    """The page says when and where it was measured, not when it was written."""
    record = read(state, "small")
    attempts = [a for played in PLAYED for trial in played.study.trials for a in trial.attempts]
    assert record.span == (min(a.started for a in attempts), max(a.ended or 0.0 for a in attempts))
    assert record.context.devices == ("A Processor",)
    assert dict(record.context.device_names) == {"cpu-0": "cpu-0", "cpu-1": "cpu-1"}
    assert (record.context.written_at, record.context.n_devices) == (BEGIN + 1e6, (1, 4))


def test_the_timeline_is_cut_to_the_trials(state: Path) -> None:
    """What the devices did before and afterwards is no idle time of the comparison."""
    record = read(state, "small")
    begin, end = record.span
    for device in DEVICES:
        spells = [spell for spell in record.context.activities if spell.device == device]
        assert (spells[0].begun, spells[-1].ended) == (begin, end)
        assert all(a.ended == b.begun for a, b in pairwise(spells))


def test_the_test_set_is_counted_by_final_trainings(state: Path) -> None:
    """The first screen says how often it was opened; a search never opens it."""
    finals = [played.study for played in PLAYED if played.study.name.endswith("final")]
    assert read(state, "small").test_set_openings == sum(len(study.trials) for study in finals)
    assert read(state, "small-bo-1").test_set_openings == 0


def test_images_and_price_are_known(tmp_path: Path) -> None:
    """Costs and captions need them."""
    write_dataset(tmp_path / "street", {"train": 4, "extra": 6, "test": 3}, seed=0)
    played = Played(replace(SPEC, data_dir="/elsewhere", budget=Budget(price_per_device_hour=2.6)))
    played.propose(BEGIN)
    played.take(TrialStarted(BEGIN, 1, 1, "cpu-0"))
    played.take(TrialCompleted(BEGIN + 2.0, 1, 1, 0.5))
    context = read(write_state(tmp_path / "state", [played], tmp_path / "street"), "alone").context
    assert (context.data_name, context.is_svhn, context.price_per_device_hour) == ("street", False, 2.6)
    assert (context.train_images, context.validation_images, context.test_images) == (8, 2, 3)


def test_a_folder_called_svhn_is_not_believed(tmp_path: Path) -> None:
    """Drawn digits in a folder of that name must not pass for the real ones in any caption."""
    write_dataset(tmp_path / "my_SVHN", {"train": 4, "extra": 6, "test": 3}, seed=0)
    context = read(write_state(tmp_path / "state", PLAYED, tmp_path / "my_SVHN"), "small").context
    assert (context.data_name, context.is_svhn) == ("my_SVHN (not the official files)", False)


def test_unknown_names_are_told_with_those_there_are(state: Path) -> None:
    """The parts of a comparison are left out: there may be dozens."""
    with pytest.raises(RequestError, match=r"no study and no comparison 'smal' in .*; there are: small, alone\."):
        read(state, "smal")


def test_nothing_is_reported_before_a_trial_has_ended(state: Path) -> None:
    """A page without a number helps nobody; what to do instead does."""
    with pytest.raises(RequestError, match="no trial of alone has ended yet"):
        read(state, "alone")


def test_a_state_folder_that_is_not_there_has_no_studies(tmp_path: Path) -> None:
    """A mistyped --state must not look like an empty comparison."""
    with pytest.raises(RequestError, match="there are: none"):
        read(tmp_path / "nowhere", "small")


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    """As every command tells it."""
    (tmp_path / "journal.sqlite").write_bytes(b"no journal" * 99)
    with pytest.raises(ConfigurationError, match="can't be read as a journal"):
        read(tmp_path, "small")
