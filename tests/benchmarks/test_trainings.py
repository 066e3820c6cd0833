"""Tables of trainings: raw rows that can be gone on with, and that are what they say they are."""

from pathlib import Path

import pytest
from proposing import live, trainings
from proposing.main import app
from typer.testing import CliRunner

TABLES = sorted((Path(__file__).parents[2] / "benchmarks" / "rows" / "trainings").glob("*.jsonl"))

CANCER = live.PROBLEMS["mlp_cancer"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.stem))
def test_committed_trainings_are_those_that_their_numbers_say(table: Path) -> None:
    """Whoever trains them again draws the same configurations and seeds; none is missing or there twice."""
    rows, problem = trainings.load(table), live.PROBLEMS[table.stem]
    assert sorted(row.number for row in rows) == list(range(len(rows)))
    assert len(rows) >= 300
    for row in rows:
        assert (row.configuration, row.seed) == trainings.draw(problem, row.number)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.stem))
def test_nine_trainings_in_ten_come_to_nothing(table: Path) -> None:
    """85 to 95 % at chance or without a number: the laboratory is about that."""
    rows = trainings.load(table)
    assert 0.05 <= sum(row.is_useful for row in rows) / len(rows) <= 0.15


def test_there_are_real_trainings() -> None:
    """An empty folder would pass the tests above."""
    assert sum(len(trainings.load(table)) for table in TABLES) >= 600


def test_a_stopped_table_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """Whatever is there is not trained again, a gap included."""
    pytest.importorskip("sklearn")
    whole, rest = tmp_path / "whole.jsonl", tmp_path / "rest.jsonl"
    carried_out = list(trainings.go_on(CANCER, 4, whole))
    assert trainings.load(whole) == carried_out
    for row in (carried_out[0], carried_out[2]):
        trainings.append(rest, row)
    assert [row.number for row in trainings.go_on(CANCER, 4, rest)] == [1, 3]
    assert {row.number: row.value for row in trainings.load(rest)} == dict(enumerate(row.value for row in carried_out))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """A command that was killed while writing leaves half a line."""
    (tmp_path / "a.jsonl").write_text('{"number": 0')
    with pytest.raises(ValueError, match=r"a\.jsonl:1 is no training .*delete the line"):
        trainings.load(tmp_path / "a.jsonl")


def test_the_command_fills_a_table_and_says_what_is_in_it(tmp_path: Path) -> None:
    """Twice the same command trains once."""
    pytest.importorskip("sklearn")
    command = ["trainings", "--problem", "mlp_cancer", "--count", "3", "--out", str(tmp_path)]
    first, again = (CliRunner().invoke(app, command) for _ in range(2))
    assert first.exit_code == again.exit_code == 0
    assert len(first.output.splitlines()) == 4
    assert again.output == first.output.splitlines(keepends=True)[-1]
    assert again.output.startswith("3 trainings: ")


def test_an_unknown_problem_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """Drawn problems have no trainings."""
    result = CliRunner().invoke(app, ["trainings", "--problem", "band5-0", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "band5-0" in result.output and "mlp_digits" in result.output
