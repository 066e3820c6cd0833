"""The `[compare]` of a study file: what it makes, and every mistake in it at once."""

from pathlib import Path

import pytest

from cnnbo.daemon.studyfile import load_comparison, load_study
from cnnbo.models.registry import SVHN_CNN, SVHN_FOREST
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.spec import Stage, StudySpec

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

FILE = """\
name = "small"
model = "svhn-cnn"
evaluations = 4
[data]
dir = "digits"
[trial]
images = 900
[space]
learning_rate = { type = "float", low = 1e-5, high = 1e-4, scale = "log" }
[compare]
methods = ["bo", "random"]
runs = 2
"""


def read(folder: Path, text: str) -> tuple[StudySpec, ...]:
    path = folder / "study.toml"
    path.write_text(text)
    return load_comparison(path, cwd=folder)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(folder, text)
    return [problem.removeprefix(f"{folder}/study.toml:") for problem in caught.value.problems]


def test_a_comparison_begins_with_its_runs_and_its_baselines(tmp_path: Path) -> None:
    """The untuned network needn't lie in the space of the file; the forest sees the same images."""
    specs = {spec.name: spec for spec in read(tmp_path, FILE)}
    assert list(specs) == [
        "small-bo-1", "small-random-1", "small-bo-2", "small-random-2", "small-untuned", "small-forest",
    ]  # fmt: skip
    assert {name: spec.optimizer for name, spec in specs.items() if "bo" in name} == {
        "small-bo-1": "trieste", "small-bo-2": "trieste",
    }  # fmt: skip
    untuned, forest = specs["small-untuned"], specs["small-forest"]
    assert (untuned.start, untuned.repeats, untuned.space) == ((dict(SVHN_CNN.defaults),), 2, SVHN_CNN.space)
    assert (forest.model, forest.start, forest.evaluations) == ("svhn-forest", (dict(SVHN_FOREST.defaults),), 2)
    assert {spec.trial.images for spec in specs.values()} == {900}
    assert all(spec.start == () for name, spec in specs.items() if spec.part and spec.part.stage is Stage.SEARCH)


def test_the_untuned_configuration_may_be_ones_own(tmp_path: Path) -> None:
    """Whoever ships a configuration wants to know what tuning gains over that one."""
    specs = read(tmp_path, FILE + "[[start]]\nlearning_rate = 5e-5\n")
    [untuned] = [spec for spec in specs if spec.name == "small-untuned"]
    assert untuned.start == ({"learning_rate": 5e-5},)


def test_a_command_is_compared_without_the_models_baselines(tmp_path: Path) -> None:
    """Nothing is known of somebody's script but its value."""
    text = 'name = "s"\ncommand = ["train"]\n[space]\nx = { type = "int", low = 1, high = 9 }\n[compare]\nruns = 1\n'
    assert [spec.name for spec in read(tmp_path, text)] == ["s-bo-1", "s-random-1"]


def test_the_table_is_asked_for(tmp_path: Path) -> None:
    """`cnnbo compare` of an ordinary study file has to say what is missing."""
    [problem] = problems(tmp_path, FILE.partition("[compare]")[0])
    assert problem.startswith("1  [compare] is missing; add one, like")


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """One at a time costs an evening."""
    text = FILE.replace('"small"', '"a-name-that-is-much-too-long"').replace(
        'methods = ["bo", "random"]', 'methods = ["bo", "trieste", "tpe"]\nfigure3 = true'
    )
    text += "[budget]\ncost = 3.0\nprice_per_device_hour = 1.0\n"
    text += "[[start]]\nlearning_rate = 5e-5\n[[start]]\nlearning_rate = 6e-5\n"
    assert problems(tmp_path, text) == [
        "1  name: a comparison's is at most 25 characters, for its studies add theirs; shorten it.",
        "11  compare.methods: no. 2 is the same as no. 1; remove one.",
        '11  compare.methods no. 3: there is none called "tpe"; the nearest here is "bo".',
        '12  "figure3" is no key of compare; did you mean "figure2"?',
        "15  budget.cost: a comparison that stops half-way says nothing; lower evaluations or runs instead.",
        "19  start: the runs of a comparison begin with nothing; one configuration may stand here, the untuned one.",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("runs = 0", "12  compare.runs: must be at least 1, not 0."),
        ("confirm = -1", "13  compare.confirm: must be at least 0, not -1."),
        ('twice = "yes"', '13  compare.twice: must be true or false, not "yes".'),
    ],
)
def test_counts_and_flags_are_checked(tmp_path: Path, line: str, expected: str) -> None:
    """A comparison without runs compares nothing."""
    text = FILE.replace("runs = 2", line) if line.startswith("runs") else FILE + line
    assert problems(tmp_path, text) == [expected]


def test_figure_2_is_of_the_built_in_network(tmp_path: Path) -> None:
    """Another model has no RMSProp that we know of."""
    text = (
        'name = "s"\ncommand = ["train"]\n[space]\nx = { type = "int", low = 1, high = 9 }\n[compare]\nfigure2 = true\n'
    )
    [problem] = problems(tmp_path, text)
    assert problem.startswith("6  compare.figure2: shows the parameters of svhn-cnn's optimizer")


def test_figure_2_needs_the_parameters_that_it_varies(tmp_path: Path) -> None:
    """Found at the end of the search, it would be found after hours."""
    [problem] = problems(tmp_path, FILE + "figure2 = true\n")
    assert problem.startswith("13  compare.figure2: varies learning_rate, momentum, decay; let the space have each")


def test_every_part_has_the_same_limit_of_time(tmp_path: Path) -> None:
    """One that a run finds for itself, from its own trials, would judge methods by different rules."""
    assert {spec.trial.timeout_s for spec in read(tmp_path, FILE)} == {24 * 3600.0}


def test_a_study_file_with_the_table_is_still_a_study(tmp_path: Path) -> None:
    """`cnnbo run` of the same file tries a single study first."""
    path = tmp_path / "study.toml"
    path.write_text(FILE)
    assert load_study(path, cwd=tmp_path).part is None


@pytest.mark.parametrize("name", ["digits_compare.toml", "sigopt2016.toml"])
def test_the_examples_are_comparisons(name: str) -> None:
    """They are what people start from."""
    assert len(load_comparison(EXAMPLES / name, cwd=Path("/"))) == 12
