"""How much of a trial's output is read and shown at a time, whatever it printed and whoever asks."""

import json
from pathlib import Path

import pytest

from cnnbo.daemon.launch import attempt_dir
from cnnbo.daemon.logfiles import read_end, read_on, tail

MIB = 1024**2
PLACE = ("s", 1, 1)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = attempt_dir(tmp_path, *PLACE)
    directory.mkdir(parents=True)
    return directory / "log"


def bytes_read() -> int:
    """How much this process has read so far, from whatever."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["rchar"])


def test_of_a_progress_bar_of_megabytes_the_last_mebibyte_is_read(log: Path, tmp_path: Path) -> None:
    """Without a newline in it, all of the log used to be read, and gone through for each block."""
    log.write_bytes(b"begin\n" + b"50%\r" * (8 * MIB) + b"51%")
    before = bytes_read()
    assert tail(tmp_path, *PLACE, 2) == ["51%"]
    assert bytes_read() - before < 2 * MIB


def test_both_halves_of_a_log_share_the_mebibyte(log: Path, tmp_path: Path) -> None:
    """The answer's limit is one for all."""
    log.with_name("log.1").write_bytes(b"older line\n" * 100_000)
    log.write_bytes(b"newer line\n" * 50_000)
    lines = tail(tmp_path, *PLACE, 100_000)
    assert MIB - 11 <= sum(len(line) + 1 for line in lines) <= MIB
    assert lines[-50_001:-49_999] == ["older line", "newer line"]


def test_following_shows_each_line_whole_and_once_across_pieces_and_halves(log: Path, tmp_path: Path) -> None:
    """Where a piece ends is no end of a line."""
    printed = [f"line {number}" for number in range(200_000)]
    log.with_name("log.1").write_text("".join(f"{line}\n" for line in printed[:100_000]))
    log.write_text("\n".join(printed[100_000:]))
    lines, mark, sizes = list[str](), "", list[int]()
    while (part := read_on(tmp_path, *PLACE, mark, is_over=True)).lines:
        assert part.mark is not None
        lines += part.lines
        mark = part.mark
        sizes.append(sum(len(line) + 1 for line in part.lines))
    assert lines == printed
    assert max(sizes) <= MIB


def test_a_long_line_is_cut_and_says_so(log: Path, tmp_path: Path) -> None:
    """A terminal can't bear a line of a mebibyte."""
    log.write_bytes(b"x" * 16 * 1024 + b"\n" + b"y" * 16 * 1024 + b"z\n")
    assert tail(tmp_path, *PLACE, 2) == ["x" * 16 * 1024, "y" * 16 * 1024 + " …"]


@pytest.mark.parametrize("printed", [b"\0", b"\xff", b"\n", b"\0\n", b"\0" * 16_000 + b"\n", b"\xff" * 16_000 + b"\n"])
def test_no_output_makes_an_answer_that_clients_refuse(log: Path, tmp_path: Path, printed: bytes) -> None:
    """Clients take lines of 64 MiB, and JSON needs several bytes for what isn't printable."""
    log.write_bytes(printed * (3 * MIB // len(printed)))
    for part in (read_end(tmp_path, *PLACE, 100_000), read_on(tmp_path, *PLACE, "", is_over=True)):
        assert 0 < len(json.dumps(part.lines)) < 16 * MIB


@pytest.mark.parametrize(
    "position", ["9", "999999999999999999999999999999", "9" * 90, "٣", "-1", "+1", "1_0", " 1", "1\n"]
)
def test_a_position_that_is_not_in_the_file_means_the_beginning(log: Path, tmp_path: Path, position: str) -> None:
    """Marks come from whoever asks, and a log may have been shortened meanwhile."""
    log.write_bytes(b"one\ntwo\n")
    assert read_on(tmp_path, *PLACE, f"{log.stat().st_ino}:{position}", is_over=True).lines == ("one", "two")
    assert read_on(tmp_path, *PLACE, f"{log.stat().st_ino}:8", is_over=True).lines == ()
