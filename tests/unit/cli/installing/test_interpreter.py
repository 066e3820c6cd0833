"""Whether the service's user gets at the interpreter."""

import os
from pathlib import Path

import pytest

from cnnbo.cli.installing.interpreter import Account, check_interpreter
from cnnbo.scheduler.errors import ConfigurationError

STRANGER = Account(uid=65533, gids=(65533,))


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """A folder that every user may enter, up to the root of the test's own files; pytest's are closed."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_an_environment_that_everybody_reaches_will_do(opt: Path) -> None:
    """As /opt/cnnbo made by root."""
    check_interpreter(program(opt / "venv/bin/python"), opt / "venv", STRANGER, "cnnbo")


def test_a_closed_folder_behind_a_link_is_found(opt: Path) -> None:
    """`python3 -m venv` links to where the interpreter is: with pyenv, below /root."""
    real = program(opt / "root/versions/bin/python3")
    (opt / "root").chmod(0o700)
    (opt / "venv/bin").mkdir(parents=True)
    (opt / "venv/bin/python3").symlink_to("../../root/versions/bin/python3")
    (opt / "venv/bin/python").symlink_to("python3")
    with pytest.raises(ConfigurationError, match=f"{opt}/root is closed to others.*python3 -m venv /opt/cnnbo"):
        check_interpreter(opt / "venv/bin/python", opt / "venv", STRANGER, "cnnbo")
    check_interpreter(real, opt, Account(os.getuid()), "me")


def test_a_folder_that_is_open_to_a_group_will_do_for_its_members(opt: Path) -> None:
    """An administrator may give the environment to the service's group."""
    python = program(opt / "venv/bin/python")
    (opt / "venv").chmod(0o750)
    check_interpreter(python, opt, Account(65533, (os.getgid(),)), "cnnbo")
    with pytest.raises(ConfigurationError, match="venv is closed"):
        check_interpreter(python, opt, STRANGER, "cnnbo")


def test_a_package_in_somebodys_home_is_found_too(opt: Path) -> None:
    """An editable install: the interpreter is open, the code isn't."""
    python = program(opt / "bin/python")
    (opt / "home/cnnbo").mkdir(parents=True)
    (opt / "home").chmod(0o700)
    with pytest.raises(ConfigurationError, match="home/cnnbo can't be used by the user cnnbo"):
        check_interpreter(python, opt / "home/cnnbo", STRANGER, "cnnbo")


def test_links_in_a_circle_are_a_sentence(opt: Path) -> None:
    """As the kernel has it: ELOOP."""
    (opt / "python").symlink_to("python")
    with pytest.raises(ConfigurationError, match="too many links"):
        check_interpreter(opt / "python", opt, STRANGER, "cnnbo")
