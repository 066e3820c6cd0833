"""Timings of asks are kept beside the rows and must come back as they went."""

from pathlib import Path

from proposing.asks import Timing, load, save


def test_timings_come_back(tmp_path: Path) -> None:
    """The report is made later, in another environment."""
    timings = [Timing(50, 0, 1, (0.3, 0.2, 0.25)), Timing(500, 250, 8, (2.0,))]
    save(tmp_path / "asks.json", timings)
    assert load(tmp_path / "asks.json") == timings
    assert timings[0].median == 0.25


def test_no_file_is_no_timing(tmp_path: Path) -> None:
    """A report can be made before anything was timed."""
    assert load(tmp_path / "asks.json") == []
