"""`cnnbo retry`: trials that ended, once more."""

from typing import Annotated, Any

import typer

from cnnbo.cli import completion, options


def retry(
    name: options.StudyName,
    trials: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[TRIAL]...", help="Numbers of complete or failed trials.", autocompletion=completion.trials
        ),
    ] = None,
    crashed: Annotated[bool, typer.Option("--crashed", help="Every trial that crashed.")] = False,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Withdraw what ended trials came to, and run them again. A study that equal crashes paused goes on."""
    from cnnbo.cli.output import print_json
    from cnnbo.daemon.offline import order

    folder = options.state_folder(state)
    answer, has_daemon = order(folder, "retry", study=name, trials=trials or [], crashed=crashed)
    print_json(answer) if json else print(_told(answer) + ("" if has_daemon else options.start_hint(folder)))


def _told(answer: dict[str, Any]) -> str:
    from cnnbo.cli.output import trials_named

    name, which = answer["name"], trials_named(answer["retried"])
    if answer["state"] == "paused":
        return f"{name}: {which} will run again when it goes on; it is paused: cnnbo resume {name}"
    return f"{name}: {which} will run again"
