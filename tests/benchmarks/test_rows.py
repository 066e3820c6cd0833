"""Raw rows and the command that adds to them."""

from pathlib import Path

import pytest
from proposing import groups, methods, narrow, rows
from proposing.main import app
from proposing.problems import PROBLEMS
from proposing.simulation import EVALUATIONS, simulate
from tests.benchmarks.desk import row
from typer.testing import CliRunner


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """What is resumed and reported from is what was measured."""
    kept = row([1.0, None], [0.5, None], seed=3, ask_s=[0.25, 0.5], duplicates=1)
    rows.append(tmp_path / "a.jsonl", kept)
    assert rows.load([tmp_path / "a.jsonl", tmp_path / "missing.jsonl"]) == [kept]


@pytest.mark.parametrize("line", ['{"problem": "network"', '{"problem": "network", "weather": "fine"}', "7"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    """A run that was killed while writing leaves half a line; people must find it among hundreds."""
    path = tmp_path / "a.jsonl"
    rows.append(path, row([1.0]))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:2 is no row .*delete the line"):
        rows.load([path])


def test_a_stopped_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """Hours of runs must survive an interruption, and nothing may be measured twice."""
    path = tmp_path / "random.jsonl"
    make, versions = methods.load("random")
    rows.append(path, simulate(PROBLEMS["network"], "random", make, 0, 4, versions))
    before = path.read_text()

    assert "3 runs to do" in start(tmp_path)
    assert path.read_text().startswith(before)
    assert sorted(row.key for row in rows.load([path])) == [
        (problem, "random", seed, 4, EVALUATIONS) for problem in ("discrete", "network") for seed in (0, 1)
    ]
    assert "0 runs to do" in start(tmp_path)


def test_an_unknown_problem_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A typo would otherwise be found after the other problems have run."""
    result = CliRunner().invoke(app, ["run", "--problems", "netwerk", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "netwerk" in result.output and "network" in result.output


def test_another_number_of_evaluations_is_another_run(tmp_path: Path) -> None:
    """The budget is known to a method, so that 40 evaluations are not the first half of 80."""
    assert "4 runs to do" in start(tmp_path)
    assert "4 runs to do" in start(tmp_path, "--evaluations", "40")
    assert "0 runs to do" in start(tmp_path, "--evaluations", "40")
    assert {row.evaluations for row in rows.load([tmp_path / "random.jsonl"])} == {40, 80}


def test_rows_of_narrow_problems_say_what_luck_explains(tmp_path: Path) -> None:
    """The report counts values at chance, and has only the rows."""
    start(tmp_path, "--problems", "band5-7", "--seeds", "1")
    [row] = rows.load([tmp_path / "random.jsonl"])
    assert (row.problem, row.chance) == ("band5-7", narrow.BOUND)
    assert row.at_chance > 40


def test_every_problem_of_a_group_is_known_by_its_name() -> None:
    """A row leads back to its problem, and no two problems share a name."""
    names = [name for group in groups.GROUPS.values() for name in group]
    assert len(names) == len(set(names))
    assert [groups.get(name).name for name in names] == names


def start(out: Path, *more: str) -> str:
    few = ["--methods", "random", "--problems", "network,discrete", "--seeds", "2"]
    result = CliRunner().invoke(app, ["run", *few, "--out", str(out), *more])
    assert result.exit_code == 0, result.output
    return result.output
