"""The folder of a report: everything the page leads to is there, and nothing of anybody else's is lost."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.reports import REPORT

from cnnbo.cli.reporting.folder import check_folder, write_report
from cnnbo.cli.reporting.parts import Drawing
from cnnbo.scheduler.errors import ConfigurationError


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_written(tmp_path: Path) -> None:
    """Figures for slides and papers, numbers for programs, tables for LaTeX; a long table has no use there."""
    check_folder(tmp_path / "new/report", "small")
    files = write_report(REPORT, tmp_path / "new/report", 0.0)
    assert files[0] == tmp_path / "new/report/index.html"
    assert {str(path.relative_to(tmp_path / "new/report")) for path in files} == names(tmp_path / "new/report")
    assert names(tmp_path / "new/report") == {
        "index.html",
        "figures/figure-3.svg",
        "figures/figure-3.png",
        "tables/table-1.csv",
        "tables/table-1.tex",
        "tables/trials.csv",
    }


def test_a_report_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """Figures that the new one doesn't have would be taken for its own; what somebody put beside them stays."""
    write_report(REPORT, tmp_path, 0.0)
    (tmp_path / "figures/mine.svg").write_text("mine")
    check_folder(tmp_path, "small")
    [drawing] = [part for part in REPORT.sections[0].parts if isinstance(part, Drawing)]
    section = replace(REPORT.sections[0], parts=(replace(drawing, key="figure-4"),))
    write_report(replace(REPORT, sections=(section,)), tmp_path, 0.0)
    assert names(tmp_path) == {"index.html", "figures/figure-4.svg", "figures/figure-4.png", "figures/mine.svg"}


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    """`-o .` in a home folder must not be the end of somebody's index.html."""
    (tmp_path / "index.html").write_text("<h1>My page</h1>")
    with pytest.raises(ConfigurationError, match=r"holds something else \(index.html\); name a new or an empty one"):
        check_folder(tmp_path, "small")


def test_the_report_of_another_study_is_refused(tmp_path: Path) -> None:
    """Two comparisons, one folder: a slip of the fingers, not a wish."""
    write_report(replace(REPORT, name="a&b"), tmp_path, 0.0)
    with pytest.raises(ConfigurationError, match="holds the report of a&b; name another one for small"):
        check_folder(tmp_path, "small")


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    """Who made it beforehand meant it."""
    check_folder(tmp_path, "small")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Said before seconds of drawing, not after."""
    (tmp_path / "report").write_text("")
    with pytest.raises(ConfigurationError, match="this is a file; name a folder"):
        check_folder(tmp_path / "report", "small")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """In one sentence, as a mistyped -o deserves."""
    with pytest.raises(ConfigurationError, match=r"-o /proc/report: can't be written \(.+\); name another folder"):
        write_report(REPORT, Path("/proc/report"), 0.0)
