"""`cnnbo trials`: the trials of a study as a table."""

from typing import Annotated, Any

import typer

from cnnbo.cli import options

_SORTABLE = ("id", "value", "duration", "state")


def trials(
    name: options.StudyName,
    sort: Annotated[
        str, typer.Option("--sort", metavar="COLUMN", help=f"One of {', '.join(_SORTABLE)}, or a parameter.")
    ] = "id",
    failed: Annotated[bool, typer.Option("--failed", help="Failed trials only, with their reasons.")] = False,
    at_chance: Annotated[bool, typer.Option("--at-chance", help="Trials no better than chance only.")] = False,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """All trials of a study; `--sort value` puts the best first."""
    from cnnbo.cli.output import print_json
    from cnnbo.scheduler.errors import ConfigurationError

    shown = options.shown_study(options.daemon_of(state, broker, node), name)
    if sort not in _SORTABLE and sort not in shown["space"]:
        columns = ", ".join((*_SORTABLE, *shown["space"]))
        raise ConfigurationError(f"--sort {sort}: there is no such column; the columns are {columns}.")
    if failed and at_chance:
        raise typer.BadParameter("no trial is both; give one of them.", param_hint="--failed, --at-chance")
    rows = [
        trial
        for trial in shown["trials"]
        if (not failed or trial["state"] == "failed") and (not at_chance or trial.get("at_chance"))
    ]
    rows.sort(key=lambda trial: _key(trial, sort, shown["direction"] == "maximize"))
    print_json(rows) if json else _print(shown, rows, failed, at_chance)


def _key(trial: dict[str, Any], sort: str, maximize: bool) -> tuple[int, Any]:
    """Sort key with unknown values last; for values the best first, and before the last what luck explains."""
    if sort == "id":
        return 0, trial["id"]
    if sort == "value" and trial["value"] is not None:
        return int(bool(trial.get("at_chance"))), -trial["value"] if maximize else trial["value"]
    known = {"value": trial["value"], "duration": trial["duration_s"], "state": trial["state"]}
    item = known[sort] if sort in known else trial["configuration"].get(sort)
    if item is None:
        return 2, trial["id"]
    return 0, str(item) if isinstance(item, bool | str) else item


def _print(shown: dict[str, Any], rows: list[dict[str, Any]], failed: bool, at_chance: bool) -> None:
    from cnnbo.cli import output

    if not rows:
        print("No failed trial." if failed else "No trial is at chance." if at_chance else "No trial yet.")
        return
    last = ("reason",) if failed else ()
    header = ("#", "state", shown["metric"], "took", "device", "from", *shown["space"], *last)
    table = []
    for trial in rows:
        mark = "*" if trial["id"] == shown["best_trial"] else ""
        table.append(
            (
                f"{trial['id']}{mark}",
                "at chance" if trial.get("at_chance") else str(trial["failure"] or trial["state"]),
                output.value(trial["value"]),
                output.duration(trial["duration_s"]),
                str(trial["attempts"][-1]["device"])[:12] if trial["attempts"] else "-",
                str(trial["source"]),
                *(output.scalar(trial["configuration"][parameter]) for parameter in shown["space"]),
                *((str(trial["message"] or ""),) if failed else ()),
            )
        )
    output.print_table(header, table, right=(0, 2, 3))
