"""The commit behind the version, wherever the code came from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cnnbo
from cnnbo.commit import RECORD

SOURCE = Path(cnnbo.__file__).parent
HASH = "0123456789abcdef0123456789abcdef01234567"
# Neither this user's settings nor a repository around the test count.
NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a"}
ENVIRONMENT = {**os.environ, **NOBODY, "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package's own files, without the rooms, in a folder of their own."""
    folder = tmp_path / "src/cnnbo"
    folder.mkdir(parents=True)
    for path in SOURCE.glob("*.py"):
        shutil.copy(path, folder)
    return folder


def told(package: Path) -> str:
    code = "from cnnbo.commit import version_text; print(version_text())"
    environment = {**ENVIRONMENT, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, "-S", "-c", code]  # -S: this environment's cnnbo must not come first
    return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    done = subprocess.run(["git", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_tells_its_commit_and_whether_files_were_changed(package: Path, tmp_path: Path) -> None:
    """A bug that only a changed file has is looked for elsewhere in vain."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "src")
    git(tmp_path, "commit", "--quiet", "-m", "all")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert told(package) == f"{cnnbo.__version__} ({commit[:7]})"
    with (package / "__init__.py").open("a") as file:
        file.write("# changed\n")
    assert told(package) == f"{cnnbo.__version__} ({commit[:7]}-dirty)"


def test_a_package_tells_the_commit_it_was_made_from(package: Path, tmp_path: Path) -> None:
    """Also where the environment lies in a repository of the user's own, whose commit says nothing about cnnbo."""
    (package / RECORD).write_text(f"{HASH}\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    assert told(package) == f"{cnnbo.__version__} (0123456)"


def test_without_git_and_record_there_is_only_the_version(package: Path) -> None:
    """An archive of the files alone is no error."""
    assert told(package) == cnnbo.__version__


def test_the_command_and_its_bug_reports_tell_it(tmp_path: Path) -> None:
    """Whoever reads a report has to know which code it is about."""
    from cnnbo.commit import version_text

    run = [sys.executable, "-m", "cnnbo", "--version"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == f"cnnbo {version_text()}\n"
    code = "from cnnbo.cli.app import _bug_report; print(_bug_report(ValueError()))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    (report,) = tmp_path.glob("cnnbo-bug-*.txt")
    assert report.read_text().startswith(f"cnnbo {version_text()}, Python ")
