"""What a command may write, and what becomes of it."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, mutated, torn

from cnnbo.daemon import streams
from cnnbo.daemon.executors.base import Progress
from cnnbo.daemon.streams import Lines, Log, ValueFinder, merge_progress, parse_progress


@given(st.binary(), st.lists(st.integers(0, 50)))
def test_lines_do_not_depend_on_how_the_stream_was_cut(data: bytes, cuts: list[int]) -> None:
    """A pipe cuts wherever it likes."""
    lines, found = Lines(1000), []
    rest = data
    for cut in cuts:
        found += lines.feed(rest[:cut])
        rest = rest[cut:]
    found += lines.feed(rest) + lines.finish()
    assert found == [line for line in data.replace(b"\r", b"\n").split(b"\n") if line]


def test_of_a_line_too_long_the_end_is_kept() -> None:
    """Gigabytes without a newline must take no memory, and what follows them may matter."""
    lines = Lines(10)
    for _ in range(100):
        assert lines.feed(b"x" * 100) == []
    assert lines.feed(b" acc: 0.5\n") == [b" acc: 0.5"[-10:].rjust(10, b"x")]


def test_the_log_keeps_the_newest(tmp_path: Path) -> None:
    """The last lines say why a trial died."""
    log = Log(tmp_path / "log", limit_mib=0.001)
    for number in range(1000):
        log.write(f"line {number}\n".encode())
    kept = (tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()
    assert len(kept) <= 0.001 * 1024 * 1024
    assert kept.endswith("line 998\nline 999\n")


def test_one_write_beyond_the_limit_keeps_its_end(tmp_path: Path) -> None:
    """A megabyte may come at once."""
    log = Log(tmp_path / "log", limit_mib=0.001)
    log.write(b"x" * 5000 + b"end")
    assert (tmp_path / "log").read_bytes() == b"x" * (524 - 3) + b"end"


def test_a_full_disk_does_not_raise() -> None:
    """A log that can't be written never stops a trial."""
    log = Log(Path("/dev/full"), limit_mib=1)
    log.write(b"hello\n")


def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """Its size counts from the start: a standby may have written before."""
    (tmp_path / "log").write_bytes(b"x" * 500)
    log = Log(tmp_path / "log", limit_mib=0.001)
    log.write(b"y" * 100)
    assert (tmp_path / "log.1").read_bytes() == b"x" * 500
    assert (tmp_path / "log").read_bytes() == b"y" * 100


def test_a_pattern_that_thinks_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner is deaf to the lifeline while it searches."""
    monkeypatch.setattr(streams, "_PATTERN_CPU_S", 0.05)
    finder = ValueFinder(r"acc: (\d)|(a+)+b", "last", True)
    assert finder.feed(b"acc: 1\n" + b"a" * 60 + b"\n") == [1.0]
    assert "(a+)+b" in finder.problem
    assert finder.feed(b"acc: 2\n") == []
    assert (finder.matches, finder.value) == (1, 1.0)


def test_the_best_ignores_what_is_no_number_unless_nothing_else_is_there() -> None:
    """One epoch that overflowed doesn't spoil the best of the others."""
    finder = ValueFinder(r"acc: (\S+)", "best", True)
    finder.feed(b"acc: nan\n")
    assert finder.value is not None and math.isnan(finder.value)
    finder.feed(b"acc: 0.5\nacc: inf\nacc: nan\nacc: 0.4\n")
    assert (finder.matches, finder.value) == (5, 0.5)


def test_a_match_without_a_number_does_not_count() -> None:
    """`[0-9.]+` also matches the dots of "training...", and takes the full stop of a sentence along."""
    finder = ValueFinder(r"acc: ?([0-9.]+)", "last", True)
    assert finder.feed(b"acc: ...\nacc: 0.93.\n") == [0.93]
    assert finder.matches == 1


def test_a_pattern_without_a_group_is_taken_as_a_whole() -> None:
    """A script may print nothing but the number."""
    finder = ValueFinder(r"^0\.\d+$", "last", True)
    assert finder.feed(b"loss 0.1\n0.75\n") == [0.75]


@pytest.mark.parametrize(
    "line",
    [b"", b"hello", b"7", b"null", b"[]", b"[" * 5000, b'{"step": 1', b'{"step": ' + b"1" * 5000 + b"}", b"\xff\xfe"],
)
def test_a_line_that_is_no_progress_is_none(line: bytes) -> None:
    """Garbage is passed over, whatever the parser says to it."""
    assert parse_progress(line) is None


REPORT = {"step": 3, "steps": 9, "epoch": 1, "epochs": 2, "metrics": {"loss": 0.5, "val_accuracy": 0.25}}


@example(line=b'{"metrics": {"\\ud800": 1, "\\u001b[2J": 1}}')  # broke every screen
@example(line=DEEP[:60_000])
@given(line=mutated(REPORT).map(json.dumps).map(str.encode) | torn(json.dumps(REPORT).encode()) | st.binary())
def test_of_any_line_only_figures_are_taken(line: bytes) -> None:
    """What a script reports goes to topics and screens as it is."""
    progress = parse_progress(line)
    if progress is None:
        return
    assert all(type(count) is int for count in (progress.step, progress.steps) if count is not None)
    assert all(name.isprintable() and math.isfinite(number) for name, number in progress.metrics.items())
    assert len(json.dumps(progress.metrics, allow_nan=False)) < 16_384
    assert merge_progress(progress, progress) == progress


def test_a_line_too_long_is_none() -> None:
    """It was cut, so what is left of it means nothing."""
    assert parse_progress(b'{"step": 1}'.rjust(streams.PROGRESS_LINE_LIMIT)) is None


def test_of_a_progress_line_what_is_right_is_kept() -> None:
    """One odd metric must not hide the others."""
    line = (
        b'{"step": 3.0, "steps": -1, "epoch": true, "epochs": "9", "colour": "red", "metrics":'
        b'{"a": 1, "b": NaN, "c": "x", "d": true, "e": Infinity, "f": null, "g": 1e400, "h": 1%s}}' % (b"0" * 400)
    )
    assert parse_progress(line) == Progress(step=3, metrics={"a": 1.0})
    assert parse_progress(b'{"step": 1, "metrics": [1]}') == Progress(step=1)


def test_metrics_without_end_are_cut() -> None:
    """A name per batch would fill every screen and topic."""
    many = ",".join(f'"m{n}": {n}' for n in range(1000))
    found = parse_progress(f'{{"metrics": {{{many}}}}}'.encode())
    assert found is not None
    assert len(found.metrics) == 64
    assert len(merge_progress(found, Progress(metrics={"one": 1.0, "more": 2.0})).metrics) <= 64


def test_merging_keeps_the_newest_of_each() -> None:
    """A validation metric told between two training steps must not be lost."""
    older = Progress(step=1, steps=9, metrics={"loss": 3.0, "val_accuracy": 0.5})
    newer = Progress(step=2, epoch=1, metrics={"loss": 2.0})
    merged = Progress(step=2, steps=9, epoch=1, metrics={"loss": 2.0, "val_accuracy": 0.5})
    assert merge_progress(older, newer) == merged


def test_a_phase_is_one_of_those_that_are_known() -> None:
    """It becomes a word in a topic and in the journal."""
    known, other = parse_progress(b'{"phase": "compiling"}'), parse_progress(b'{"phase": ["napping"]}')
    assert known is not None and known.phase == "compiling"
    assert other is not None and other.phase is None
    assert merge_progress(known, Progress(step=1)) == Progress(step=1, phase="compiling")
    assert merge_progress(known, Progress(phase="training")).phase == "training"
