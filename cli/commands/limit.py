"""`cnnbo limit`: at most so many devices at a time."""

from typing import Annotated

import typer

from cnnbo.cli import completion, options

NONE = "none"


def _count(text: str) -> str:
    if text != NONE and not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f'a whole number, or "{NONE}" for all devices')
    return text


def limit(
    devices: Annotated[
        str, typer.Argument(metavar="N|none", callback=_count, help="How many devices; none = no limit.")
    ],
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="NAME", help="Limit this study, not the whole box.", autocompletion=completion.studies
        ),
    ] = None,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Use at most so many devices at a time, from now on. Running trials go on to their end; 0 starts nothing new."""
    from cnnbo.cli.output import print_json

    count = None if devices == NONE else int(devices)
    named = {} if study is None else {"study": study}
    answer = options.daemon_of(state, broker, node).ask("limit", devices=count, **named)
    if json:
        print_json(answer)
        return
    what = (
        "no limit but that of the settings" if count is None else f"at most {count} device{'' if count == 1 else 's'}"
    )
    print(f"{study or 'all studies together'}: {what}{' at a time' if count else ''}")
