"""Raw rows and the command that adds to them."""

from pathlib import Path

import pytest
from proposing import methods, rows
from proposing.main import app
from proposing.problems import PROBLEMS
from proposing.simulation import simulate
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
        (problem, "random", seed, 4) for problem in ("discrete", "network") for seed in (0, 1)
    ]
    assert "0 runs to do" in start(tmp_path)


def test_an_unknown_problem_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A typo would otherwise be found after the other problems have run."""
    result = CliRunner().invoke(app, ["run", "--problems", "netwerk", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "netwerk" in result.output and "network" in result.output


def start(out: Path) -> str:
    few = ["--methods", "random", "--problems", "network,discrete", "--seeds", "2"]
    result = CliRunner().invoke(app, ["run", *few, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result.output
