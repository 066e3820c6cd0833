"""`cnnbo best`: the best configuration, in the form one needs it, or its network."""

import json as json_module
import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cnnbo.cli import options


class Format(StrEnum):
    """Forms of a configuration."""

    FLAGS = "flags"
    JSON = "json"
    ENV = "env"
    TOML = "toml"


def best(
    name: options.StudyName,
    form: Annotated[
        Format | None, typer.Option("--format", help="Print the configuration alone, in this form.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE.keras", help="Train it on all data, score it on the test set, save the network."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --save: replace a file that is there.")] = False,
    devices: options.Devices = None,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """The best configuration so far; with --save, the network it makes."""
    from cnnbo.cli import output
    from cnnbo.scheduler.errors import RequestError

    if save is not None:
        if form is not None or broker is not None or node is not None:
            where = "it goes with --state, on the box itself, and without --format."
            raise typer.BadParameter(where, param_hint="--save")
        _save(name, save, force, devices, state, json)
        return
    for flag, is_given in (("--force", force), ("--devices", devices is not None)):
        if is_given:
            raise typer.BadParameter("it goes with --save.", param_hint=flag)
    shown = options.shown_study(options.daemon_of(state, broker, node), name)
    found = shown["best"]
    if found is None:
        raise RequestError(f"study {name} has no completed trial yet; see its trials: cnnbo trials {name}")
    if output.is_only_chance(shown):
        print(output.luck_warning(name), file=sys.stderr)
    if json:
        output.print_json(found)
    elif form is not None:
        print(_FORMS[form](found["configuration"]))
    else:
        print(f"{shown['metric']} {output.value(found['value'])}, trial {found['trial']} of {name}")
        print(_flags(found["configuration"]))


def _save(name: str, target: Path, force: bool, devices: str | None, state: Path | None, json: bool) -> None:
    from cnnbo.cli import output
    from cnnbo.cli.saving import describe, save_best

    facts = save_best(name, target, force, options.settings(state), devices)
    if json:
        output.print_json(facts)
        return
    for line in describe(facts):
        print(line)


def _flags(configuration: Mapping[str, object]) -> str:
    from shlex import quote

    from cnnbo.daemon.command import format_value

    return " ".join(f"--{name}={quote(format_value(item))}" for name, item in configuration.items())  # type: ignore[arg-type]


def _env(configuration: Mapping[str, object]) -> str:
    from shlex import quote

    from cnnbo.daemon.command import format_value, variable_name

    return "\n".join(f"{variable_name(name)}={quote(format_value(item))}" for name, item in configuration.items())  # type: ignore[arg-type]


def _toml(configuration: Mapping[str, object]) -> str:
    # JSON's scalars are TOML's; a key that isn't bare is quoted like a string.
    keys = {name: name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json_module.dumps(name) for name in configuration}
    return "\n".join(f"{keys[name]} = {json_module.dumps(item)}" for name, item in configuration.items())


_FORMS: dict[Format, Callable[[Mapping[str, object]], str]] = {
    Format.FLAGS: _flags,
    Format.JSON: json_module.dumps,
    Format.ENV: _env,
    Format.TOML: _toml,
}
