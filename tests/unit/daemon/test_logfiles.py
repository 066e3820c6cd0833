"""What people see of a trial's output."""

from pathlib import Path

import pytest

from cnnbo.daemon.launch import attempt_dir
from cnnbo.daemon.logfiles import LOG_DAYS, keep_end, read_end, read_on, shorten_old_logs, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    directory = attempt_dir(tmp_path, "s", 1, 1)
    directory.mkdir(parents=True)
    return directory / "log"


def test_the_tail_reaches_into_the_older_half(log: Path, tmp_path: Path) -> None:
    """The runner keeps the log in two files; a reader must not notice."""
    log.with_name("log.1").write_bytes(b"one\ntwo\n")
    log.write_bytes(b"three\n")
    assert tail(tmp_path, "s", 1, 1, 2) == ["two", "three"]
    assert tail(tmp_path, "s", 1, 1, 9) == ["one", "two", "three"]
    assert tail(tmp_path, "s", 1, 1, 0) == []


def test_a_large_log_is_read_from_its_end(log: Path, tmp_path: Path) -> None:
    """Lines may be longer than what is read at once."""
    log.write_bytes(b"x" * 300_000 + b"\n0%" + b"y" * 200_000 + b"\r100%\nend")
    assert tail(tmp_path, "s", 1, 1, 2) == ["100%", "end"]


def test_progress_bars_show_their_newest_state(log: Path, tmp_path: Path) -> None:
    """A terminal shows only what came after the last carriage return."""
    log.write_bytes(b"10%\r50%\r100%\r\nnext\r\n")
    assert tail(tmp_path, "s", 1, 1, 5) == ["100%", "next"]


def test_control_characters_are_shown_and_not_obeyed(log: Path, tmp_path: Path) -> None:
    """A log must not be able to change the title of the reader's terminal."""
    log.write_bytes(b"\x1b]0;gotcha\x07 \xff\n")
    assert tail(tmp_path, "s", 1, 1, 1) == ["\\x1b]0;gotcha\\x07 \ufffd"]


def more(state: Path, mark: str | None, is_over: bool = False) -> tuple[list[str], str]:
    assert mark is not None
    part = read_on(state, "s", 1, 1, mark, is_over)
    assert part.mark is not None
    return list(part.lines), part.mark


def test_following_yields_whole_lines_as_they_come(log: Path, tmp_path: Path) -> None:
    """Half a line is no news yet, unless nothing will ever complete it."""
    log.write_bytes(b"old\n")
    lines, mark = more(tmp_path, read_end(tmp_path, "s", 1, 1, 5).mark)
    assert lines == []
    with log.open("ab", buffering=0) as file:
        file.write(b"10%\r20%\r\nhalf")
        lines, mark = more(tmp_path, mark)
        assert lines == ["20%"]
        assert more(tmp_path, mark) == ([], mark)
        file.write(b" full\nlast")
        lines, mark = more(tmp_path, mark)
        assert lines == ["half full"]
    lines, mark = more(tmp_path, mark, is_over=True)
    assert (lines, more(tmp_path, mark, is_over=True)) == (["last"], ([], mark))


def test_following_goes_on_where_the_runner_begins_a_new_file(log: Path, tmp_path: Path) -> None:
    """After half of its limit the log gets another name, and whoever follows it must not notice."""
    log.write_bytes(b"one\n")
    mark = read_end(tmp_path, "s", 1, 1, 0).mark
    with log.open("ab") as file:
        file.write(b"two\n")
    log.replace(log.with_name("log.1"))
    log.write_bytes(b"three\n")
    lines, mark = more(tmp_path, mark)
    assert lines == ["two", "three"]
    log.replace(log.with_name("log.1"))
    log.write_bytes(b"four\n")
    assert more(tmp_path, mark)[0] == ["four"]


@pytest.mark.parametrize("mark", ["", "7", "7:x", "x:7", ":", "999999999:3"])
def test_a_mark_that_leads_nowhere_means_the_beginning(log: Path, tmp_path: Path, mark: str) -> None:
    """It comes from whoever asks; nothing is lost with the file it was in but what that held."""
    log.write_bytes(b"one\ntwo\n")
    assert more(tmp_path, mark)[0] == ["one", "two"]


def test_of_much_that_is_new_a_piece_comes_at_a_time(log: Path, tmp_path: Path) -> None:
    """A trial may print faster than somebody reads, and an answer has its limits."""
    log.write_bytes(b"old\n")
    mark = read_end(tmp_path, "s", 1, 1, 0).mark
    with log.open("ab") as file:
        file.write(b"x" * 1_500_000 + b"\nend\n")
    lines, mark = more(tmp_path, mark)
    assert (len(lines), mark.partition(":")[2]) == (1, str(len("old\n") + 1024**2))
    lines, mark = more(tmp_path, mark)
    assert lines[1:] == ["end"]


def test_of_a_long_log_the_last_whole_lines_are_kept(tmp_path: Path) -> None:
    """A month of a library's warnings must not fill the disk; who writes there goes on writing."""
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(100)))
    with path.open("a") as writer:
        keep_end(path, 25)
        writer.write("line 100\n")
    assert path.read_text() == "line 97\nline 98\nline 99\nline 100\n"


def test_a_short_log_is_left_alone_and_a_missing_one_is_not_made(tmp_path: Path) -> None:
    """Nothing is cut without need."""
    (tmp_path / "log").write_text("one\ntwo\n")
    keep_end(tmp_path / "log", 8)
    keep_end(tmp_path / "none", 8)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    assert not (tmp_path / "none").exists()


def test_of_an_old_log_the_end_is_kept_and_everything_else(log: Path, tmp_path: Path) -> None:
    """A month of trials must not fill the disk, and the error at the end is what is looked for."""
    older, result, mine = (log.with_name(name) for name in ("log.1", "result.json", "logits.npy"))
    mine.write_bytes(b"z" * 100_000)
    older.write_bytes(b"x" * 100_000)
    log.write_bytes(b"y" * 100_000 + b"\nValueError: no\n")
    result.write_text('{"value": 0.5}')
    written = log.stat().st_mtime
    shorten_old_logs(tmp_path, written + (LOG_DAYS - 1) * 86400)
    assert (older.exists(), log.stat().st_size) == (True, 100_016)
    shorten_old_logs(tmp_path, written + (LOG_DAYS + 1) * 86400)
    assert not older.exists() and result.exists()
    assert (log.read_bytes(), mine.stat().st_size) == (b"ValueError: no\n", 100_000)
