"""`cnnbo report`: from a state folder to pages, files and bundles, and a sentence where that can't be."""

import json
import re
import sys
import zipfile
from pathlib import Path

import html5lib
import pytest
from tests.comparisons import BEGIN, Played, comparison
from tests.journals import write_state

from cnnbo.cli import app
from cnnbo.models.svhn.synth import write_dataset
from cnnbo.scheduler import FloatParameter, SearchSpace
from cnnbo.scheduler.events import TrialFailed, TrialStarted
from cnnbo.scheduler.spec import Plan, StudySpec
from cnnbo.scheduler.trial import Failure

PLAN = Plan("small", ("bo", "random"), runs=2, evaluations=5, seed=7, confirm=2)
OWN = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), name="own", command=("train",), optimizer="random")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison on a folder of drawn digits, a study that only failed, and one that has just begun."""
    folder = tmp_path_factory.mktemp("box")
    write_dataset(folder / "street_mnist", {"train": 4, "extra": 6, "test": 3}, seed=0)
    failed, begun = Played(OWN), Played(StudySpec(OWN.space, name="begun", command=("train",), optimizer="random"))
    failed.propose(BEGIN)
    failed.take(TrialStarted(BEGIN, 1, 1, "cpu-0"))
    failed.take(TrialFailed(BEGIN + 2.0, 1, 1, Failure.CRASHED, "<b>no</b> such file"))
    begun.propose(BEGIN)
    begun.take(TrialStarted(BEGIN, 1, 1, "cpu-1"))
    return write_state(folder / "state", [*comparison(PLAN), failed, begun], folder / "street_mnist")


@pytest.fixture
def report(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Run":
    return Run(state, monkeypatch, capsys)


class Run:
    """Runs `cnnbo report` in this process, where its libraries are loaded once."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._state = state
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path, state: Path | None = None, code: int = 0) -> str:
        """What it prints, on stderr where it fails; its exit code must be `code`."""
        line = ["cnnbo", "report", *map(str, arguments), "--state", str(state or self._state)]
        self._monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            app.main()
            raise SystemExit(0)
        printed = self._capsys.readouterr()
        assert ended.value.code == code, printed.err
        return printed.err if code else printed.out


def files_of(folder: Path, ending: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob(f"*{ending}")}


@pytest.mark.long
def test_a_comparison_is_reported_and_redrawn_from_its_bundle(report: Run, tmp_path: Path) -> None:
    """What somebody else sees is what was measured here: the same tables, to the last byte."""
    told = json.loads(report("small", "-o", tmp_path / "out", "--bundle", tmp_path / "small.zip", "--json"))
    assert (told["name"], told["kind"]) == ("small", "comparison")
    assert told["page"] == str(tmp_path / "out/index.html")
    assert told["bundle"] == str(tmp_path / "small.zip")
    written = {str(path) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {told["page"], *told["figures"], *told["tables"]}

    page = (tmp_path / "out/index.html").read_text()
    html5lib.HTMLParser(strict=True).parse(page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    first_screen = page[: page.index("<nav")]
    assert "street_mnist: 8 to train, 2 to validate, 3 to test" in first_screen
    assert "bo against random, 2 runs of 5 evaluations each" in first_screen
    assert "A Processor (cpu-0, cpu-1)" in first_screen
    assert "2026-01-01 00:00 to" in first_screen
    assert re.search(r"cnnbo 0\.1\.0, commit ([0-9a-f]{12}|unknown)", first_screen)
    assert re.search(r"<dt>Test set</dt><dd>opened \d+ times</dd>", first_screen)
    # Only the table of what differs may name the images of 2016, in its column of 2016.
    assert "SVHN" not in page[: page.index('id="section-differences"')].replace("not SVHN", "")

    with zipfile.ZipFile(tmp_path / "small.zip") as bundle:
        bundle.extractall(tmp_path / "unzipped")
    report("small", "-o", tmp_path / "again", state=tmp_path / "unzipped")
    tables = files_of(tmp_path / "out", ".csv")
    assert tables and files_of(tmp_path / "again", ".csv") == tables
    assert files_of(tmp_path / "again", ".tex") == files_of(tmp_path / "out", ".tex")


def test_a_study_without_any_value_is_reported(report: Run, tmp_path: Path) -> None:
    """Why nothing came of it is what its owner wants to see; what the script wrote stays text."""
    printed = report("own", "-o", tmp_path / "out", "--bundle", tmp_path / "own.zip")
    assert printed.startswith(f"study own: {tmp_path}/out/index.html (")
    assert "look through its command line" in printed
    page = (tmp_path / "out/index.html").read_text()
    html5lib.HTMLParser(strict=True).parse(page)
    assert "No trial gave a value; 1 of 80 trials have finished." in page
    assert "<b>no" not in page
    assert "differs from 2016" not in page


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("smal", 1, r"there is no study and no comparison 'smal' in .*; there are: small, own, begun\."),
        ("begun", 1, r"no trial of begun has ended yet"),
    ],
)
def test_what_cannot_be_reported_is_told_in_a_sentence(
    report: Run, tmp_path: Path, name: str, code: int, sentence: str
) -> None:
    """And nothing is written."""
    assert re.search(sentence, report(name, "-o", tmp_path / "out", code=code))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_found_out_before_anything_is_drawn(report: Run, tmp_path: Path) -> None:
    """Exit code 78, as for every mistake that is found before the work begins."""
    (tmp_path / "notes.txt").write_text("mine")
    assert "holds something else (notes.txt)" in report("small", "-o", tmp_path, code=78)
    assert "there is no folder" in report("small", "-o", tmp_path / "out", "--bundle", tmp_path / "no/b.zip", code=78)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("numbers", ["", "0", "1,,4", "four", "-1", "1;4"])
def test_numbers_of_devices_are_numbers(report: Run, tmp_path: Path, numbers: str) -> None:
    """A command line that can't be parsed is told before anything is read."""
    assert "no list of numbers" in report("small", "-o", tmp_path, f"--devices-projected={numbers}", code=2)
