"""Reading a journal that no daemon has open."""

from pathlib import Path

from tests.journals import journal_study

from cnnbo.daemon.journal import read_journal
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec


def test_a_reader_leaves_no_file_behind(tmp_path: Path) -> None:
    """What root or a colleague leaves beside the journal, its daemon may not be able to open."""
    journal_study(tmp_path, StudySpec(SearchSpace((FloatParameter("x", 0, 1),)), name="parabola"))
    before = sorted(tmp_path.iterdir())
    [known], _ = read_journal(tmp_path)
    assert known.study.name == "parabola"
    assert sorted(tmp_path.iterdir()) == before
