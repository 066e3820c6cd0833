"""The bundle: enough for others to check everything, and nothing that is private."""

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.comparisons import BEGIN, Played, play, train
from tests.journals import write_state

from cnnbo.cli.reporting.bundle import check_bundle, write_bundle
from cnnbo.cli.reporting.deviations import differences
from cnnbo.cli.reporting.read import Record, read_record
from cnnbo.models.registry import SVHN_CNN
from cnnbo.models.svhn.synth import write_dataset
from cnnbo.scheduler import create_optimizer
from cnnbo.scheduler.codec import decode_value
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.events import AskOptimizer, PointsSuggested, TrialsRequested
from cnnbo.scheduler.spec import Origin, StudySpec

PRIVATE = ("hunter2", "alice", "dissertation")
SPEC = StudySpec(
    SVHN_CNN.space,
    name="shared",
    model=SVHN_CNN.name,
    evaluations=4,
    optimizer="sobol",
    seed=3,
    data_dir="/home/alice/dissertation/street",
    origin=Origin("/home/alice/dissertation", {"TOKEN": "hunter2"}, "/home/alice/bin/python", "alice"),
)


class Asked(Played):
    """A study whose points are proposed by the real optimizer."""

    def propose(self, at: float) -> None:
        ask = self.take(TrialsRequested(at, 1))[0]
        assert isinstance(ask, AskOptimizer)
        optimizer = create_optimizer(SPEC.optimizer, SPEC.space, SPEC.seed)
        basis = self.study.basis()
        answer = optimizer.suggest(self.study.history(basis), ask.ask, 1)
        points = tuple(tuple(row) for row in answer.points.tolist())
        told = (basis.observed, basis.failed, basis.pending, basis.excluded)
        self.take(PointsSuggested(at, ask.ask, points, answer.source, *told))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A study on a few images, whose spec tells much of its owner."""
    folder = tmp_path_factory.mktemp("alice")
    write_dataset(folder / "dissertation/street", {"train": 4, "extra": 6, "test": 3}, seed=0)
    asked = Asked(SPEC)
    play([asked], train)
    return read_record(
        write_state(folder / "state", [asked], folder / "dissertation/street"), "shared", (1,), BEGIN + 1e6
    )


@pytest.fixture(scope="module")
def unzipped(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, written and unzipped."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(record, folder / "shared.zip")
    with zipfile.ZipFile(folder / "shared.zip") as bundle:
        bundle.extractall(folder / "unzipped")
    return folder / "unzipped"


def test_everything_is_in_it(unzipped: Path) -> None:
    """Journal, spec, lock file, checksums, versions, and how to use them."""
    files = {str(path.relative_to(unzipped)) for path in unzipped.rglob("*") if path.is_file()}
    assert files == {"README.md", "facts.json", "journal.sqlite", "requirements.txt", "spec/shared.json"}
    facts = json.loads((unzipped / "facts.json").read_text())
    assert facts["data"]["images"] == {"train": 4, "extra": 6, "test": 3}
    assert set(facts["data"]["sha256"]) == {"train_32x32.mat", "extra_32x32.mat", "test_32x32.mat"}
    assert facts["machine"]["processor"] and facts["software"]["cnnbo"]
    assert re.search(r"^numpy==\d", (unzipped / "requirements.txt").read_text(), re.MULTILINE)
    spec = decode_value(StudySpec, json.loads((unzipped / "spec/shared.json").read_text()))
    assert spec == replace(SPEC, data_dir="/street", origin=Origin())


def test_nothing_private_is_in_it(unzipped: Path) -> None:
    """A bundle is sent to strangers."""
    for path in unzipped.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert [word for word in PRIVATE if word.encode() in content] == [], path


def test_what_is_read_from_it_is_what_was_bundled(record: Record, unzipped: Path) -> None:
    """Images and machine are those it was measured on, not those of whoever checks it."""
    again = read_record(unzipped, "shared", (1,), record.context.written_at)
    assert again.is_bundle
    assert again.context == record.context
    assert differences(again) == differences(record)


def test_a_bundle_of_a_bundle_is_the_same_again(record: Record, unzipped: Path, tmp_path: Path) -> None:
    """The same content has the same bytes, whoever zips it, so that checksums of bundles can be compared."""
    write_bundle(record, tmp_path / "first.zip")
    write_bundle(read_record(unzipped, "shared", (1,), 0.0), tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def replayed(folder: Path) -> str:
    """What the lines of the bundle's own README print."""
    [lines] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_readme_repeats_the_proposals(unzipped: Path) -> None:
    """The lines are copied as they stand; a promise that isn't run is none."""
    assert replayed(unzipped) == "shared: 4 of 4 proposals repeated bit for bit\n"


def test_the_readme_notices_other_proposals(unzipped: Path, tmp_path: Path) -> None:
    """These were drawn by hand: a check that always agrees would check nothing."""
    invented = Played(SPEC)
    play([invented], train)
    record = read_record(write_state(tmp_path / "state", [invented]), "shared", (1,), BEGIN + 1e6)
    write_bundle(record, tmp_path / "invented.zip")
    with zipfile.ZipFile(tmp_path / "invented.zip") as bundle:
        bundle.extractall(tmp_path / "unzipped")
    assert replayed(tmp_path / "unzipped") == "shared: 0 of 4 proposals repeated bit for bit\n"


def test_only_a_bundle_of_that_name_is_written_over(record: Record, tmp_path: Path) -> None:
    """`--bundle thesis.zip` must not be the end of the thesis."""
    path = tmp_path / "shared.zip"
    check_bundle(path, "shared")
    write_bundle(record, path)
    check_bundle(path, "shared")
    with pytest.raises(ConfigurationError, match="this is no bundle of other"):
        check_bundle(path, "other")
    (tmp_path / "thesis.zip").write_bytes(b"PK of somebody else")
    with pytest.raises(ConfigurationError, match=r"would be lost; name another file"):
        check_bundle(tmp_path / "thesis.zip", "shared")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        check_bundle(tmp_path / "nowhere/shared.zip", "shared")


def test_a_file_that_cannot_be_written_is_told(record: Record) -> None:
    """In one sentence."""
    with pytest.raises(ConfigurationError, match=r"--bundle /proc/shared.zip: can't be written"):
        write_bundle(record, Path("/proc/shared.zip"))
