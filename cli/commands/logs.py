"""`cnnbo logs`: what a trial printed."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cnnbo.cli import options

POLL_S = 0.3


def logs(
    name: options.StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Number of a trial; default: the newest.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the trial ends.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many lines to begin with.")] = 50,
    state: options.State = None,
) -> None:
    """The output of a trial's newest attempt."""
    from cnnbo.daemon import client
    from cnnbo.daemon.logfiles import log_files, tail
    from cnnbo.scheduler.errors import RequestError

    folder = options.state_folder(state)
    chosen = _choose(options.shown_study(client.LocalDaemon(folder), name), trial)
    attempt = len(chosen["attempts"])
    files = log_files(folder, name, chosen["id"], attempt)
    while follow and not files and not _has_ended(folder, name, chosen["id"]):
        time.sleep(POLL_S)
        files = log_files(folder, name, chosen["id"], attempt)
    if not files:
        raise RequestError(f"trial {chosen['id']} of study {name} has no log yet.")
    shown = tail(folder, name, chosen["id"], attempt, lines)
    for line in shown or [f"(nothing was printed; {chosen['message'] or chosen['state']})"]:
        print(line)
    if follow:
        _follow(folder, name, chosen["id"], files[-1])


def _choose(shown: dict[str, Any], trial: int | None) -> dict[str, Any]:
    from cnnbo.cli.commands.show import find_trial
    from cnnbo.scheduler.errors import RequestError

    if trial is not None:
        return find_trial(shown, trial)
    started = [one for one in shown["trials"] if one["attempts"]]
    if not started:
        raise RequestError(f"study {shown['name']} has not started a trial yet.")
    return dict(max(started, key=lambda one: str(one["attempts"][-1]["started"])))


def _follow(state: Path, name: str, trial: int, path: Path) -> None:
    from cnnbo.daemon.logfiles import follow

    for line in follow(path):
        if line:
            print(line, end="", flush=True)
        elif _has_ended(state, name, trial):
            return
        else:
            time.sleep(POLL_S)


def _has_ended(state: Path, name: str, trial: int) -> bool:
    from cnnbo.cli.commands.show import find_trial
    from cnnbo.daemon import client

    return bool(find_trial(client.show(state, name), trial)["state"] != "running")
