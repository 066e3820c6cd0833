import json
from pathlib import Path

import pytest
from tests.unit.models.desk import SHARED, random_part
from typer.testing import CliRunner

from cnnbo.cli.commands.data import app, fetch
from cnnbo.models.svhn.layout import FILES, write_part
from cnnbo.scheduler.errors import ConfigurationError, RequestError


def run(*arguments: str | Path) -> str:
    """Run `cnnbo data …` and return its stdout; errors come through as the exceptions that `cnnbo` turns into text."""
    outcome = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Random images in all three parts."""
    for seed, (part, count) in enumerate((("train", 30), ("extra", 20), ("test", 10))):
        write_part(tmp_path / FILES[part], *random_part(count, seed))
    return tmp_path


def test_drawn_data_pass_their_own_check(tmp_path: Path) -> None:
    """The first two commands of the manual, one after the other."""
    pytest.importorskip("PIL")
    assert "60 drawn digits" in run("synth", tmp_path / "d", "--train", "30", "--extra", "20", "--test", "10")
    lines = run("verify", tmp_path / "d").splitlines()
    assert lines[0] == "train_32x32.mat  30 images  good, but not the official SVHN"
    assert len(lines) == 3


def test_drawing_over_data_is_refused(folder: Path) -> None:
    """1.6 GB of real images are not to be overwritten by a slip."""
    before = (folder / FILES["train"]).read_bytes()
    with pytest.raises(RequestError, match=r"holds train_32x32\.mat, .* already"):
        run("synth", folder)
    assert (folder / FILES["train"]).read_bytes() == before


def test_verify_names_every_problem(folder: Path) -> None:
    """All mistakes at once; the good file is still reported."""
    (folder / FILES["train"]).write_bytes(b"broken")
    (folder / FILES["test"]).unlink()
    with pytest.raises(ConfigurationError) as caught:
        run("verify", folder)
    about_train, about_test = caught.value.problems
    assert "train_32x32.mat can't be read" in about_train
    assert "holds no test_32x32.mat" in about_test


def test_info_describes_the_fold_that_trials_see(folder: Path) -> None:
    """For scripts: counts, sides, and what a network that learnt nothing scores."""
    facts = json.loads(run("info", folder, "--json"))
    assert facts["images"] == {"train": 30, "extra": 20, "test": 10}
    assert (facts["training"], facts["validation"]) == (40, 10)
    assert sum(facts["validation_digits"]) == 10
    assert facts["majority_share"] == max(facts["validation_digits"]) / 10
    assert facts["validation_digits"][facts["majority_digit"]] == max(facts["validation_digits"])


def test_info_is_readable_by_people(folder: Path) -> None:
    """The same without --json."""
    text = run("info", folder)
    assert "train              30 images" in text
    assert "validation         10 of train + extra" in text


def test_info_of_real_input(tmp_path: Path) -> None:
    """The folder that real studies here run on: 5,000 + 3,000 to tune on, 2,000 held out."""
    if not (SHARED / "street_mnist").is_dir():
        pytest.skip("street_mnist is not beside this checkout")
    for name in FILES.values():
        (tmp_path / name).symlink_to(SHARED / "street_mnist" / name)
    facts = json.loads(run("info", tmp_path, "--json"))
    assert facts["images"] == {"train": 5000, "extra": 3000, "test": 2000}
    assert (facts["training"], facts["validation"]) == (6400, 1600)


def test_fetching_from_a_folder_takes_official_files_only(folder: Path, tmp_path: Path) -> None:
    """A copy is checked like a download."""
    with pytest.raises(ConfigurationError, match="is not the official file"):
        run("fetch", tmp_path / "new", "--from", folder)


def test_fetching_says_the_terms_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Non-commercial use only: whoever downloads must have seen it, even when there is no network."""
    with pytest.raises(RequestError, match="can't be downloaded"):
        fetch(tmp_path, mirror="http://127.0.0.1:9")
    assert "non-commercial use only" in capsys.readouterr().err


def test_two_sources_exclude_each_other(tmp_path: Path) -> None:
    """Which of the two would count, nobody can guess."""
    with pytest.raises(RequestError, match="--from and --mirror exclude each other"):
        run("fetch", tmp_path, "--from", tmp_path, "--mirror", "http://127.0.0.1:9")
