"""`cnnbo config`: the settings, where each comes from, and changing them in their file."""

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import completion, options

if TYPE_CHECKING:
    from cnnbo.daemon.settings import Key

app = typer.Typer(help="Show the settings, or change them in their file.", no_args_is_help=True)

Service = Annotated[
    bool, typer.Option("--service", help="The settings of the service, /etc/cnnbo/cnnbo.toml; root's default.")
]
KeyName = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Like mqtt.port; `cnnbo config show` lists them.", autocompletion=completion.keys
    ),
]


@app.command()
def show(service: Service = False, json: options.Json = False) -> None:
    """Every key with its value and where that comes from. Built in, FILE:LINE, or a CNNBO_… variable."""
    from cnnbo.daemon.settings import KEYS, config_file
    from cnnbo.daemon.settings.load import gather, settings_of

    environ = _environ(service)
    gathered = gather(environ)
    settings = settings_of(gathered, environ)
    path = config_file(environ)
    rows = [
        {
            "key": key.name,
            "value": _plain(key.value_in(settings)),
            "from": gathered.places.get(key.name, "built-in"),
            "reload": key.reloads,
        }
        for key in KEYS.values()
    ]
    if json:
        from cnnbo.cli.output import print_json

        print_json({"file": str(path), "exists": path.exists(), "settings": rows})
        return
    typer.echo(f"{path}{'' if path.exists() else ' (does not exist)'}")
    shown = [(row["key"], _shown(KEYS[row["key"]], row["value"]), row["from"]) for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in (0, 1)]
    for key, value, place in shown:
        typer.echo(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {place}")


@app.command("set")
def set_key(
    key: KeyName,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="As in the file, but texts without quotes.")],
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With mqtt.url: log in as this user; the password is asked for, or stdin's."),
    ] = None,
    service: Service = False,
) -> None:
    """Set a key in the settings file. Comments and order stay; it says how a daemon gets to know."""
    from cnnbo.cli.passwords import ask_password
    from cnnbo.daemon.settings import config_file
    from cnnbo.daemon.settings.edit import edited, known_key, password_file, write_password

    wanted = {key: known_key(key).parse(value)}
    if key == "mqtt.url":
        _refuse_password(value)
    if user is None:
        _write(wanted, _environ(service))
        return
    if key != "mqtt.url":
        raise typer.BadParameter("it goes with mqtt.url: who to log in as at that broker.", param_hint="--user")
    environ = _environ(service)
    path = config_file(environ)
    wanted |= {"mqtt.user": user, "mqtt.password_file": str(password_file(path))}
    edited(path, wanted, environ)  # what is wrong is told before a password is asked for
    was_there = password_file(path).exists()
    is_new = write_password(path, ask_password(user, _plain(value)))
    _write(wanted, environ, password=("replaced" if was_there else "new") if is_new else None)
    typer.echo(f"The password is in {password_file(path)}, for its owner alone.")


@app.command()
def unset(
    keys: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY…", help="Like mqtt.url mqtt.user mqtt.password_file.", autocompletion=completion.keys
        ),
    ],
    service: Service = False,
) -> None:
    """Take keys out of the settings file: what is built in holds again."""
    from cnnbo.daemon.settings import config_file
    from cnnbo.daemon.settings.edit import known_key, password_file

    environ = _environ(service)
    before = _write({known_key(key).name: None for key in keys}, environ)
    kept = password_file(config_file(environ))
    if before.get("mqtt.password_file") == str(kept) and kept.exists():
        typer.echo(f"The password is still in {kept}; where nobody needs it any more: rm {kept}")


def _refuse_password(url: str) -> None:
    """See that no password is typed in a URL.

    Raises:
        ConfigurationError: one is; the sentence doesn't show it.
    """
    from cnnbo.daemon.broker_url import split_broker_url
    from cnnbo.scheduler.errors import ConfigurationError

    try:
        parts = split_broker_url(url)
    except ValueError:  # told with the other mistakes
        return
    if parts.password is not None:
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ConfigurationError(
            "mqtt.url: a password in it stands in the shell's history and in the settings; have it asked for: "
            f"cnnbo config set mqtt.url {address} --user {parts.username or 'NAME'}"
        )


def _environ(service: bool) -> Mapping[str, str]:
    """The environment of whose settings these are: this one's, or the service's, which knows no variables of ours."""
    from cnnbo.daemon.folders import SERVICE_STATE
    from cnnbo.daemon.settings import SERVICE_CONFIG

    if service or (os.geteuid() == 0 and not os.environ.get("CNNBO_CONFIG") and SERVICE_CONFIG.exists()):
        if not service:
            print(f"root's default is the service: {SERVICE_CONFIG}", file=sys.stderr)
        return {"STATE_DIRECTORY": str(SERVICE_STATE)}
    return os.environ


def _write(wanted: Mapping[str, Any], environ: Mapping[str, str], password: str | None = None) -> Mapping[str, object]:
    """Change the file, and say what was, what is, and what it takes to take effect.

    Args:
        wanted: see `edited`.
        environ: see `edited`.
        password: what became of the one that mqtt.password_file holds; None = it stayed.

    Returns:
        by key, what stood there before.
    """
    from cnnbo.cli.taking_in import how_to_take_in
    from cnnbo.daemon.settings import KEYS, config_file
    from cnnbo.daemon.settings.edit import edited, write

    change = edited(config_file(environ), wanted, environ)
    changed = [name for name in wanted if change.before[name] != wanted[name]]
    if not changed and password is None:
        typer.echo(f"{change.path} says so already; nothing was changed.")
        return change.before
    state = _state(environ)
    if changed:
        write(change.path, change.text)
    for name in changed:
        before, after = (_shown(KEYS[name], _plain(value)) for value in (change.before[name], wanted[name]))
        typer.echo(f"{name}: {before} -> {after}")
    if password is not None:
        typer.echo(f"password: {password}")
    written = f"Written to {change.path}. " if changed else ""
    reloads = all(KEYS[name].reloads for name in changed)
    typer.echo(f"{written}{how_to_take_in(state, environ, reloads=reloads)}")
    _warn(changed, environ, state)
    return change.before


def _state(environ: Mapping[str, str]) -> Path:
    """The state folder as file and environment have it, whatever else is wrong in them."""
    from cnnbo.daemon.folders import state_folder
    from cnnbo.daemon.settings.load import gather

    values = gather(environ).values
    return state_folder(values.get("state"), environ, node=values.get("node"))


def _warn(changed: Collection[str], environ: Mapping[str, str], old_state: Path) -> None:
    """Say what follows from a change that nobody may have meant."""
    from cnnbo.daemon.settings import KEYS
    from cnnbo.daemon.settings.load import gather

    if "node" in changed and (state := _state(environ)) != old_state:
        print(
            f"The state folder is named after the node: {state} from now on. Studies stay in {old_state}; to keep "
            f"them: cnnbo config set state {old_state}",
            file=sys.stderr,
        )
    if {"mqtt.url", "mqtt.user"} & set(changed):
        _warn_of_clear_text(gather(environ).values)
    for name in changed:
        if environ.get(KEYS[name].variable):
            print(f"{KEYS[name].variable} is set here, and wins over the file.", file=sys.stderr)


def _warn_of_clear_text(values: Mapping[str, Any]) -> None:
    from urllib.parse import urlsplit

    from cnnbo.daemon.credentials import is_this_machine

    url = urlsplit(values.get("mqtt.url") or "")
    if url.scheme == "mqtt" and (values.get("mqtt.user") or url.username) and not is_this_machine(url.hostname or ""):
        print(
            f"mqtt://{url.hostname}: user and password go there in clear, and whoever is on the way can read them; "
            "`cnnbo broker configure` sets up a broker for mqtts://.",
            file=sys.stderr,
        )


def _plain(value: object) -> Any:
    """A value for people and scripts, without the password that a broker's URL may hold."""
    if isinstance(value, str) and "://" in value:
        from cnnbo.daemon.broker_url import masked_url

        return masked_url(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _shown(key: "Key", value: object) -> str:
    if value is None:
        return f"({key.default.replace('`', '')})"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
