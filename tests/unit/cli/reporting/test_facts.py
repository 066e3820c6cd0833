"""What a report knows of images, software and machine: nothing may be claimed that wasn't looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

from cnnbo.cli.reporting.facts import FACTS_NAME, DataFacts, checksums, data_facts, gather_facts, read_facts
from cnnbo.models.svhn.synth import write_dataset
from cnnbo.scheduler.errors import ConfigurationError


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder with ten drawn digits in all."""
    write_dataset(tmp_path / "digits", {"train": 4, "extra": 6, "test": 3}, seed=0)
    return tmp_path / "digits"


def test_images_are_counted_and_called_by_their_folder(digits: Path) -> None:
    """Captions say on what a number was measured."""
    facts = data_facts(digits)
    assert facts == DataFacts("digits", False, {"train": 4, "extra": 6, "test": 3})
    assert facts.sides == (8, 2)


def test_a_folder_called_svhn_is_not_believed(digits: Path) -> None:
    """Drawn digits in a folder `svhn` must never pass for the real ones."""
    folder = digits.rename(digits.with_name("my_SVHN"))
    assert (data_facts(folder).name, data_facts(folder).is_svhn) == ("my_SVHN", False)


def test_a_folder_that_is_gone_leaves_its_name(tmp_path: Path) -> None:
    """A report outlives the disk with the images; what isn't known is not made up."""
    facts = data_facts(tmp_path / "street_mnist")
    assert (facts, facts.sides) == (DataFacts("street_mnist"), None)


def test_checksums_change_with_the_images(digits: Path) -> None:
    """They tell whether somebody else has the same files."""
    before = checksums(digits)
    with (digits / "test_32x32.mat").open("ab") as file:
        file.write(b"x")
    after = checksums(digits)
    assert {name for name in before if before[name] != after[name]} == {"test_32x32.mat"}
    assert len(before["test_32x32.mat"]) == 64


def test_software_is_what_is_installed(tmp_path: Path) -> None:
    """A lock file that names other versions than those that ran would be worse than none."""
    import numpy

    facts = gather_facts(None, needs_driver=False)
    assert facts.software.packages["numpy"] == numpy.__version__
    assert facts.software.python == ".".join(map(str, sys.version_info[:3]))
    # What nothing here requires says more about the box than about the result.
    assert "pip" not in facts.software.packages
    (tmp_path / FACTS_NAME).write_text(facts.to_json())
    assert read_facts(tmp_path) == facts


def test_the_commit_is_that_of_the_source() -> None:
    """Tests run from the source: where that is a checkout, its commit is known."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("the tests don't run in a checkout")
    commit = gather_facts(None, needs_driver=False).software.commit
    assert commit is not None
    assert commit.removesuffix("-dirty") == done.stdout.strip()


def test_damaged_facts_of_a_bundle_are_told_in_a_sentence(tmp_path: Path) -> None:
    """Somebody unzipped half a file."""
    assert read_facts(tmp_path) is None
    (tmp_path / FACTS_NAME).write_text('{"data": ')
    with pytest.raises(ConfigurationError, match="unzip it anew"):
        read_facts(tmp_path)
