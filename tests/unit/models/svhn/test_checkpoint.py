"""The file a training goes on from; that it goes on to the same value is seen in `test_train.py`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cnnbo.models.svhn.chance import Score
from cnnbo.models.svhn.checkpoint import FILE_NAME, Checkpoint, CheckpointFile

BASIS = {"configuration": {"decay": 0.1 + 0.2, "depth": 8}, "seed": 5, "epochs": 3}
CHECKPOINT = Checkpoint(
    step=40,
    checks=[Score(100, 20, 19, 1), Score(100, 50, 19, 4)],
    arrays=[np.arange(12, dtype=np.float32).reshape(3, 4) / 7, np.int64(40) * np.ones((), np.int64)],
)


def written(folder: Path) -> Path:
    """A folder with a checkpoint; its path."""
    CheckpointFile(folder, BASIS).write(CHECKPOINT)
    return folder / FILE_NAME


def is_unusable(folder: Path, why: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the checkpoint is left aside with one line that says why, and that the training starts anew."""
    checkpoint = CheckpointFile(folder, BASIS).read()
    [line] = capsys.readouterr().err.splitlines()
    return checkpoint is None and why in line and line.endswith("; the training starts anew.")


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """Values, shapes and types; the training must not notice."""
    written(tmp_path)
    read = CheckpointFile(tmp_path, BASIS).read()
    assert read is not None
    assert (read.step, read.checks) == (CHECKPOINT.step, CHECKPOINT.checks)
    for one, other in zip(read.arrays, CHECKPOINT.arrays, strict=True):
        assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


def test_no_checkpoint_is_not_worth_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every first attempt begins so."""
    assert CheckpointFile(tmp_path, BASIS).read() is None
    assert capsys.readouterr().err == ""


def test_a_torn_checkpoint_starts_the_training_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However much of it a broken disk gives back, none of it is trained on."""
    path = written(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 29):
        path.write_bytes(whole[:length])
        assert is_unusable(tmp_path, "is damaged", capsys)


def test_a_changed_bit_starts_the_training_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped bit in a weight would otherwise be trained on for the rest of the night."""
    path = written(tmp_path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 29):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert is_unusable(tmp_path, "is damaged", capsys)


@pytest.mark.parametrize("change", [{"seed": 6}, {"epochs": None}, {"data": "fold-0.bin"}])
def test_a_checkpoint_that_rests_on_something_else_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object]
) -> None:
    """Another value, a missing one, one that this version doesn't know: what differs is told."""
    CheckpointFile(tmp_path, BASIS | change).write(CHECKPOINT)
    assert is_unusable(tmp_path, f"is of another training (its {next(iter(change))} differ)", capsys)


def test_what_is_no_file_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of that name: of another tool, or of a curious user."""
    (tmp_path / FILE_NAME).mkdir()
    assert is_unusable(tmp_path, "can't be read (Is a directory)", capsys)


def test_a_training_goes_on_without_a_checkpoint_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk must not cost the training; nor may the room that half a checkpoint took be lost."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from tests.unit.models.svhn.test_checkpoint import written\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "written(Path(sys.argv[1]))\n"
    )
    path = written(tmp_path)
    before = path.read_bytes()
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=root)
    assert done.stderr == f"{path}: the checkpoint of step 40 was not written (File too large).\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_when_the_training_is_over(tmp_path: Path) -> None:
    """A month of trials must not fill the disk: neither with checkpoints nor with the torn ones of killed attempts."""
    path = written(tmp_path)
    path.with_name(f".{FILE_NAME}-torn").write_text("half")
    CheckpointFile(tmp_path, BASIS).remove()
    assert list(tmp_path.iterdir()) == []
    CheckpointFile(tmp_path, BASIS).remove()


def test_a_torn_checkpoint_makes_room_for_the_next(tmp_path: Path) -> None:
    """One for each kill would fill the disk before the training is over."""
    torn = tmp_path / f".{FILE_NAME}-torn"
    torn.write_text("half")
    written(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
