"""Files with secrets: who else may read them, and what stands in them."""

import os
from pathlib import Path

import pytest

from cnnbo.daemon.secretfiles import is_exposed, read_password
from cnnbo.scheduler.errors import ConfigurationError


def _status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "is_ours", "expected"),
    [
        (0o600, True, False),
        (0o400, True, False),
        (0o640, True, True),
        (0o604, True, True),
        (0o620, True, True),
        (0o640, False, False),  # root's, for the group of a service
        (0o644, False, True),
        (0o602, False, True),
    ],
)
def test_a_file_is_judged_as_ssh_judges_keys(mode: int, is_ours: bool, expected: bool) -> None:
    """People know that rule, and services get their secrets in files of root."""
    assert is_exposed(_status(mode, os.getuid() + (not is_ours))) is expected


def _password_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"s@crecy \xc3\xa9", b"s@crecy \xc3\xa9\n", b"s@crecy \xc3\xa9\r\n"])
def test_a_password_is_the_only_line_without_its_end(tmp_path: Path, content: bytes) -> None:
    """Editors end the line; a password may hold spaces."""
    assert read_password(_password_file(tmp_path, content)) == "s@crecy é"


@pytest.mark.parametrize(
    ("content", "mode", "sentence"),
    [
        (b"secret", 0o644, "others can read it (mode 0644); type: chmod 600 "),
        (b"", 0o600, "holds no password"),
        (b"\n", 0o600, "holds no password"),
        (b"secret\nsecret\n", 0o600, "holds no password; write it into the file, on one line"),
        (b"\xff", 0o600, "is no text"),
    ],
)
def test_what_holds_no_password_is_refused(tmp_path: Path, content: bytes, mode: int, sentence: str) -> None:
    """The sentence names the file and the remedy, and not what stands in it."""
    path = _password_file(tmp_path, content, mode)
    with pytest.raises(ConfigurationError) as caught:
        read_password(path)
    assert sentence in str(caught.value) and str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The commonest mistake."""
    with pytest.raises(ConfigurationError, match=r"gone can't be read \(No such file or directory\)"):
        read_password(tmp_path / "gone")
