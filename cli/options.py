"""Options that several commands share, so that one flag means one thing everywhere."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cnnbo.daemon.settings import Settings

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="State folder of the daemon.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
StudyName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")]
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


def state_folder(state: Path | None) -> Path:
    """The state folder that `--state` means."""
    from cnnbo.scheduler.errors import ConfigurationError

    folder = settings(state).state
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"--state {folder}: this is a file; name the folder of a daemon.")
    return folder
