"""The table of what differs from 2016 says what is so, for this study and these images."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.comparisons import BEGIN, Played, comparison
from tests.journals import write_state

from cnnbo.cli.reporting.deviations import SAME, differences
from cnnbo.cli.reporting.facts import DataFacts
from cnnbo.cli.reporting.read import Record, planned_record, read_record
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler import FloatParameter, IntParameter, SearchSpace
from cnnbo.scheduler.events import TrialCompleted, TrialStarted
from cnnbo.scheduler.spec import StudySpec, TrialSettings

STREET = DataFacts("street_mnist", images={"train": 5000, "extra": 3000, "test": 2000})
REAL = DataFacts("svhn", True, {"train": 73_257, "extra": 531_131, "test": 26_032})


def with_images(record: Record, data: DataFacts) -> Record:
    """The record as if it had been measured on other images."""
    context = replace(record.context, data_name=data.name, is_svhn=data.is_svhn)
    return replace(record, facts=replace(record.facts, data=data), context=context)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Record:
    state = write_state(tmp_path_factory.mktemp("compared"), comparison())
    record = read_record(state, "small", (1,), BEGIN + 1e6)
    return with_images(record, STREET)


def single(tmp_path: Path, spec: StudySpec, data: DataFacts = STREET) -> Record:
    """A study of a single trial."""
    played = Played(spec)
    played.propose(BEGIN)
    played.take(TrialStarted(BEGIN, 1, 1, "cpu-0"))
    played.take(TrialCompleted(BEGIN + 2.0, 1, 1, 0.5))
    record = read_record(write_state(tmp_path, [played]), spec.name, (1,), BEGIN + 9.0)
    return with_images(record, data)


def rows(record: Record) -> dict[str, tuple[str, str]]:
    """What 2016 had and what is here, by aspect."""
    table = differences(record)
    assert table is not None
    return {str(aspect): (str(then), str(here)) for aspect, then, here, _ in table.rows}


def test_a_comparison_is_told_with_its_numbers(compared: Record) -> None:
    """A reviewer looks for the deviation that isn't stated."""
    told = rows(compared)
    assert told["Images"][1] == "street_mnist: 8,000 for tuning (train + extra), 2,000 to test"
    assert "6,400 to train, 1,600 to validate" in told["Split"][1]
    assert told["Images trained on in a trial"][1] == "3,000 of the training side"
    assert told["Images per update"][1] == "100 (30 updates)"
    assert told["Evaluations of a run"][1].startswith("8; failed ones count; random search goes on to 16")
    assert told["Runs of each method"] == ("5", "3")
    assert "seed 7" in told["Seeds"][1] and "paired" in told["Seeds"][1]
    assert told["Trials side by side"][1].startswith("up to 2")
    assert told["The test set"][1].startswith(f"opened {compared.test_set_openings} times")
    assert "3 more trainings" in told["What a run chooses"][1]
    assert "The random forest" in told and "The untuned configuration" in told


def test_what_is_equal_says_so(compared: Record) -> None:
    """Rows that differ are found at a glance."""
    told = rows(compared)
    same = {aspect for aspect, (_, here) in told.items() if here == SAME}
    assert same >= {"Scaling", "Network", "RMSProp", "Epochs", "Order of the images", "Ranges of the other parameters"}
    assert not same & {"Images", "Split", "Loss", "Range of momentum", "Range of decay", "A network that becomes NaN"}


def test_other_images_are_never_called_svhn(compared: Record) -> None:
    """Only the column of 2016 may speak of SVHN."""
    assert not any("SVHN" in here for _, here in rows(compared).values())


def test_the_experiment_of_2016_repeated_differs_less(tmp_path: Path) -> None:
    """The table is computed: with the post's settings those rows say `the same`."""
    spec = StudySpec(
        SearchSpace(
            (*SVHN_CNN.space.parameters[:6], FloatParameter("momentum", 0.5, 1.0), FloatParameter("decay", 0.5, 1.0))
        ),
        name="again",
        model=SVHN_CNN.name,
        optimizer="random",
        data_dir="/data/svhn",
        trial=TrialSettings(batch_size=10_000, stop_at_chance=False),
        evaluations=80,
    )
    told = rows(single(tmp_path, spec, REAL))
    assert told["Images"][1] == SAME
    assert told["A network that stays at the majority class"][1].startswith(
        "it is trained to the end; its score counts"
    )
    assert told["Ranges of the eight parameters"][1] == SAME
    assert "Range of momentum" not in told
    assert told["Images per update"][1] == "10,000 (49 updates)"
    assert told["Images trained on in a trial"][1] == "all 483,511 of the training side"
    # What only a comparison has.
    assert "The random forest" not in told and "What a run chooses" not in told


def test_a_smaller_space_is_told_parameter_by_parameter(tmp_path: Path) -> None:
    """Examples for laptops search smaller networks."""
    spec = StudySpec(
        SearchSpace((IntParameter("filter1_width", 3, 7), FloatParameter("learning_rate", 1e-5, 1.0, "log"))),
        name="small",
        model=SVHN_CNN.name,
        optimizer="random",
        data_dir="/data/street_mnist",
    )
    told = rows(single(tmp_path, spec))
    assert told["Range of filter1_width"] == ("3 to 10", "3 to 7")
    assert told["Range of filter1_depth"] == ("10 to 64", "not searched: 32")
    assert "Range of learning_rate" not in told


def test_other_programs_have_no_such_table(tmp_path: Path) -> None:
    """A study of somebody's own script doesn't repeat anything of 2016."""
    spec = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="own", command=("train",), optimizer="random")
    assert differences(single(tmp_path, spec)) is None


def test_the_differences_are_known_before_the_first_trial() -> None:
    """`cnnbo compare --dry-run` tells them to whoever decides whether to begin."""
    specs = [each.study.spec for each in comparison() if each.study.spec.part and each.study.spec.part.method]
    told = rows(with_images(planned_record(specs), STREET))
    assert told["Images"][1].startswith("street_mnist: 8,000")
    assert told["Trials side by side"][1] == "as many as there are devices, shared by all runs in turn"
    assert told["The test set"][1].startswith("not opened (yet)")
