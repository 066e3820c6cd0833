"""Options that several commands share, so that one flag means one thing everywhere."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import completion

if TYPE_CHECKING:
    from cnnbo.daemon.client import LocalDaemon
    from cnnbo.daemon.remote import RemoteDaemon
    from cnnbo.daemon.settings import Settings

    Daemon = LocalDaemon | RemoteDaemon

# Whether it can be used, the daemon knows: who may talk to one need not be able to read its folder.
State = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", readable=False, help="State folder of the daemon.")
]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker", metavar="URL", help="Broker of another box, like mqtts://me@broker.lan, in place of --state."
    ),
]
Box = Annotated[
    str | None, typer.Option("--node", metavar="NAME", help="With --broker: which box, where it carries several.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.", autocompletion=completion.studies)]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (TOML).")]
Data = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Data folder, in place of the study file's.")]
Devices = Annotated[
    str | None,
    typer.Option("--devices", metavar="WHICH", help="auto, cpu, cpu:N, or GPUs by index or UUID: 0,1. Default: auto."),
]
NoMqtt = Annotated[bool, typer.Option("--no-mqtt", help="Publish nothing.")]
Node = Annotated[str | None, typer.Option("--node", metavar="NAME", help="Name of this box in topics.")]


def settings(state: Path | None, node: str | None = None, no_mqtt: bool = False) -> "Settings":
    """The settings of the instance that these flags mean.

    Raises:
        ConfigurationError: with every mistake of file, environment and flags.
    """
    from cnnbo.daemon.settings import load_settings

    return load_settings(os.environ, state=state, node=node, mqtt_enabled=False if no_mqtt else None)


def daemon_of(state: Path | None, broker: str | None, node: str | None) -> "Daemon":
    """The daemon that `--state`, or `--broker` and `--node`, mean."""
    if broker is None:
        from cnnbo.daemon.client import LocalDaemon

        if node is not None:
            raise typer.BadParameter("it goes with --broker; here there is one box.", param_hint="--node")
        return LocalDaemon(state_folder(state))
    if state is not None:
        raise typer.BadParameter("name a broker or a state folder, not both.", param_hint="--broker")
    from cnnbo.daemon.credentials import broker_address
    from cnnbo.daemon.remote import RemoteDaemon

    return RemoteDaemon(broker_address(broker, os.environ), node, settings(None).mqtt.base, _say_away)


def _say_away(node: str, told: str | None, is_online: bool) -> None:
    from cnnbo.cli.output import age, local_time

    state = "says nothing, though its broker calls it online" if is_online else "is offline"
    since = "" if told is None else f"; what follows was told at {local_time(told)}, {age(told)} ago"
    print(f"{node} {state}{since}.", file=sys.stderr)


def state_folder(state: Path | None) -> Path:
    """The state folder that `--state` means."""
    from cnnbo.scheduler.errors import ConfigurationError

    folder = settings(state).state
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"--state {folder}: this is a file; name the folder of a daemon.")
    return folder


def state_flag(state: Path) -> str:
    """What a printed command needs to mean this state folder: nothing where it means it anyway, else ` --state DIR`."""
    from shlex import quote

    return "" if settings(None).state == state else f" --state {quote(str(state))}"


def start_hint(state: Path) -> str:
    """How what was ordered without a daemon comes to run, as the rest of a line."""
    flag = state_flag(state)
    return f"; no daemon is there, so start one: cnnbo run STUDY{flag} (its file), or cnnbo daemon{flag}"


def shown_study(daemon: "Daemon", name: str) -> dict[str, Any]:
    """The `show` object of a study.

    Raises:
        RequestError: there is no such study; it is a comparison.
    """
    from cnnbo.scheduler.errors import RequestError

    shown = daemon.show(name)
    if "trials" not in shown:
        first = shown["studies"][0]["name"]
        raise RequestError(f"{name} is a comparison; name one of its studies, like {first} (cnnbo show {name}).")
    return shown
