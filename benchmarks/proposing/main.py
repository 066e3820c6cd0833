"""The command line: `run`, `trainings`, `asks`, `feasibility` and `report`."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from proposing import groups, live, methods, rows
from proposing.asks import CASES, measure, save
from proposing.feasibility import TRIALS, losses
from proposing.simulation import EVALUATIONS, Row, simulate
from proposing.trainings import go_on, load, summary

app = typer.Typer(no_args_is_help=True, add_completion=False)

_HERE = Path(__file__).parents[1]
ROWS = _HERE / "rows"
"""Where the raw rows are kept, one file a method."""

RESULTS = _HERE / "RESULTS.md"
"""The page that `report` writes."""

Words = Annotated[str, typer.Option(help=f"Comma-separated names, or a group: {', '.join(groups.GROUPS)}.")]


@app.callback()
def main() -> None:
    """Compare cnnbo's proposer with its peers on simulated boxes."""


@app.command()
def run(
    methods_: Annotated[str, typer.Option("--methods", help="Comma-separated methods.")] = "cnnbo,random",
    problems: Words = "all",
    parallel: Annotated[int, typer.Option(help="Devices, P.")] = 4,
    seeds: Annotated[int, typer.Option(help="Runs with seeds 0, 1, …")] = 10,
    evaluations: Annotated[int, typer.Option(min=1, help="Trials of a run.")] = EVALUATIONS,
    jobs: Annotated[int, typer.Option(help="Processes side by side.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the rows.")] = ROWS,
    idle: Annotated[
        bool, typer.Option(help="The machine does nothing else: take ask times, into the folder `idle`.")
    ] = False,
) -> None:
    """Run what has no row yet. Stop it at any time; run it again and it goes on."""
    if idle:
        out, jobs = out / "idle", 1
    out.mkdir(parents=True, exist_ok=True)
    cells = _missing(methods_.split(","), _runnable(_names(problems)), range(seeds), parallel, evaluations, out)
    typer.echo(f"{len(cells)} runs to do")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_run_cell, *cell): cell for cell in cells}
        for number, done in enumerate(as_completed(waiting), start=1):
            row = replace(done.result(), idle=idle)
            rows.append(out / f"{row.method}.jsonl", row)
            typer.echo(
                f"{number}/{len(cells)} {row.method} {row.problem} seed {row.seed} P {row.parallel}: "
                f"{_best(row):.6g}, {sum(row.ask_s):.1f} s"
            )


@app.command()
def trainings(
    problem: Annotated[str, typer.Option(help=f"One of {', '.join(live.PROBLEMS)}.")],
    count: Annotated[int, typer.Option(min=1, help="Trainings that the table shall hold.")] = 300,
    out: Annotated[Path, typer.Option(help="Folder of the tables, one file a problem.")] = ROWS / "trainings",
) -> None:
    """Train at configurations drawn uniformly, as far as the table lacks them. Stop it at any time; it goes on."""
    if problem not in live.PROBLEMS:
        raise typer.BadParameter(f"unknown: {problem}; there are {', '.join(live.PROBLEMS)}")
    if not _runnable([problem]):
        raise typer.Exit(1)
    out.mkdir(parents=True, exist_ok=True)
    table = out / f"{problem}.jsonl"
    for training in go_on(live.PROBLEMS[problem], count, table):
        typer.echo(f"{training.number + 1}/{count} {training.value}, {training.seconds:.1f} s")
    typer.echo(summary(load(table)))


@app.command()
def asks(
    # Not *.jsonl, as which the rows of runs are found.
    out: Annotated[Path, typer.Option(help="File of the timings.")] = ROWS / "idle" / "asks.json",
) -> None:
    """Time cnnbo's asks by number of observations and size of the batch, with nothing else running."""
    timings = []
    for observed, failed, count in CASES:
        timings.append(measure(observed, failed, count))
        typer.echo(f"{observed} observed, {failed} failed, {count} asked for: {timings[-1].median:.3f} s")
    out.parent.mkdir(parents=True, exist_ok=True)
    save(out, timings)


@app.command()
def feasibility() -> None:
    """Print how well the surrogate of failures tells where trials fail, on drawn problems."""
    found = list(losses())
    for trials in TRIALS:
        at = [loss for loss in found if loss.trials == trials]
        log_loss, accuracy = (
            sum(numbers) / len(at) for numbers in zip(*((f.log_loss, f.accuracy) for f in at), strict=True)
        )
        typer.echo(f"{trials} trials: log loss {log_loss:.3f}, accuracy {accuracy:.3f}, {len(at)} fits")


@app.command()
def foresight(rows_: Annotated[list[Path], typer.Argument(help="Files of rows of problems with chance.")]) -> None:
    """Print how well the surrogate foresees the next trials of runs that were made."""
    from proposing.foresight import TRIALS, foresights

    found = list(foresights(rows.load(rows_)))
    for trials in TRIALS:
        at = [one for one in found if one.trials == trials]
        if at:
            log_density, noise_sd = (
                float(np.mean(n)) for n in zip(*((f.log_density, f.noise_sd) for f in at), strict=True)
            )
            typer.echo(f"{trials} trials: log density {log_density:.2f}, noise {noise_sd:.2f}, {len(at)} fits")


@app.command()
def report(
    rows_: Annotated[Path, typer.Option("--rows", help="Folder of the rows, those for ask times in `idle`.")] = ROWS,
    out: Annotated[Path, typer.Option(help="Page to write; figures go into `figures` beside it.")] = RESULTS,
) -> None:
    """Write tables and figures of the rows to a Markdown page. Needs matplotlib."""
    from proposing.report import write  # here: `run` should not load what only the report needs

    try:
        written = write(rows_, out)
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is missing here: pip install -r benchmarks/requirements-peers.txt", err=True)
        raise typer.Exit(1) from error
    except ValueError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    typer.echo("\n".join(str(path) for path in written))


def _best(row: Row) -> float:
    return min((value for value in row.observed if value is not None), default=float("nan"))


def _names(text: str) -> list[str]:
    if text in groups.GROUPS:
        return list(groups.GROUPS[text])
    names = text.split(",")
    if unknown := sorted({name for name in names if groups.find(name) is None}):
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; there are {groups.described()}")
    return names


def _runnable(problems: Sequence[str]) -> list[str]:
    """Those that this machine can run; says why not of the others."""
    reasons = {name: groups.missing(name) for name in problems}
    for name, reason in reasons.items():
        if reason is not None:
            typer.echo(f"{name} is skipped: {reason}", err=True)
    return [name for name, reason in reasons.items() if reason is None]


def _missing(
    names: Sequence[str], problems: Sequence[str], seeds: Sequence[int], parallel: int, evaluations: int, out: Path
) -> list[rows.Key]:
    done = {row.key for row in rows.load(out / f"{name}.jsonl" for name in names)}
    # All seeds of a problem before the next one: cnnbo traces its graphs for each search space, which takes seconds.
    cells = [(problem, name, seed, parallel, evaluations) for name, problem, seed in product(names, problems, seeds)]
    return [cell for cell in cells if cell not in done]


def _run_cell(problem: str, method: str, seed: int, parallel: int, evaluations: int) -> Row:
    make, versions = methods.load(method)
    return simulate(groups.get(problem), method, make, seed, parallel, versions, evaluations)
