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
    from cnnbo.daemon.client import ask

    answer = ask(options.state_folder(state), "retry", study=name, trials=trials or [], crashed=crashed)
    print_json(answer) if json else print(_told(answer))


def _told(answer: dict[str, Any]) -> str:
    retried = answer["retried"]
    which = f"trial{'s' if len(retried) > 1 else ''} {', '.join(map(str, retried))}"
    if answer["state"] == "paused":
        name = answer["name"]
        return f"{name}: {which} will run again when it goes on; it is paused: cnnbo resume {name}"
    return f"{answer['name']}: {which} will run again"
