"""`cnnbo logs`: what a trial printed."""

import time
from typing import Annotated, Any

import typer

from cnnbo.cli import completion, options

POLL_S = 0.3


def logs(
    name: options.StudyName,
    trial: Annotated[
        int | None,
        typer.Argument(
            metavar="[TRIAL]", help="Number of a trial; default: the newest.", autocompletion=completion.trials
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the trial ends.")] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, max=100_000, help="How many lines of the last MiB to begin with.")
    ] = 50,
    state: options.State = None,
) -> None:
    """The output of a trial's newest attempt."""
    from cnnbo.daemon.client import LocalDaemon, read_log
    from cnnbo.scheduler.errors import RequestError

    folder = options.state_folder(state)
    chosen = _choose(options.shown_study(LocalDaemon(folder), name), trial)
    place = (folder, name, chosen["id"], len(chosen["attempts"]))
    piece = read_log(*place, lines) if chosen["attempts"] else None
    while follow and piece is not None and piece.part.mark is None and not piece.is_over:
        time.sleep(POLL_S)
        piece = read_log(*place, lines)
    if piece is None or piece.part.mark is None:
        raise RequestError(f"trial {chosen['id']} of study {name} has no log yet.")
    for line in piece.part.lines or [f"(nothing was printed; {chosen['message'] or chosen['state']})"]:
        print(line, flush=True)
    while follow and (piece.part.lines or not piece.is_over):
        piece = read_log(*place, lines, after=piece)
        for line in piece.part.lines:
            print(line, flush=True)
        if not piece.part.lines and not piece.is_over:
            time.sleep(POLL_S)


def _choose(shown: dict[str, Any], trial: int | None) -> dict[str, Any]:
    from cnnbo.cli.commands.show import find_trial
    from cnnbo.scheduler.errors import RequestError

    if trial is not None:
        return find_trial(shown, trial)
    started = [one for one in shown["trials"] if one["attempts"]]
    if not started:
        raise RequestError(f"study {shown['name']} has not started a trial yet.")
    return dict(max(started, key=lambda one: str(one["attempts"][-1]["started"])))
