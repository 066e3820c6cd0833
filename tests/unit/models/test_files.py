import os
from pathlib import Path

import pytest

from cnnbo.models.files import replacing


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Whoever reads meanwhile sees the old one; nothing else is left behind."""
    target = tmp_path / "result.json"
    target.write_text("old")
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_could_not_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """A full disk in the middle of a file costs neither the old file nor the room of half a new one."""
    target = tmp_path / "result.json"
    target.write_text("old")
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"), replacing(target) as file:
        file.write(b"new")
        os.dup2(full, file.fileno())  # from here on every byte finds the disk full
    os.close(full)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
