"""`cnnbo config`: the settings, where each comes from, and changing them in their file."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.daemon.settings import Key

app = typer.Typer(help="Show the settings, or change them in their file.", no_args_is_help=True)

Service = Annotated[
    bool, typer.Option("--service", help="The settings of the service, /etc/cnnbo/cnnbo.toml; root's default.")
]
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="Like mqtt.port; `cnnbo config show` lists them.")]


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
    from cnnbo.daemon.settings.edit import edited, known_key, write_password

    wanted = {key: known_key(key).parse(value)}
    if user is None:
        _write(wanted, _environ(service))
        return
    if key != "mqtt.url":
        raise typer.BadParameter("it goes with mqtt.url: who to log in as at that broker.", param_hint="--user")
    environ = _environ(service)
    path = config_file(environ)
    wanted |= {"mqtt.user": user, "mqtt.password_file": str(path.absolute().with_name("mqtt.password"))}
    edited(path, wanted, environ)  # what is wrong is told before a password is asked for
    kept = write_password(path, ask_password(user, _plain(value)))
    _write(wanted, environ)
    typer.echo(f"The password is in {kept}, for its owner alone.")


@app.command()
def unset(
    keys: Annotated[list[str], typer.Argument(metavar="KEY…", help="Like mqtt.url mqtt.user mqtt.password_file.")],
    service: Service = False,
) -> None:
    """Take keys out of the settings file: what is built in holds again."""
    from cnnbo.daemon.settings.edit import known_key

    _write({known_key(key).name: None for key in keys}, _environ(service))


def _environ(service: bool) -> Mapping[str, str]:
    """The environment of whose settings these are: this one's, or the service's, which knows no variables of ours."""
    from cnnbo.daemon.folders import SERVICE_STATE
    from cnnbo.daemon.settings import SERVICE_CONFIG

    if service or (os.geteuid() == 0 and not os.environ.get("CNNBO_CONFIG") and SERVICE_CONFIG.exists()):
        if not service:
            print(f"root's default is the service: {SERVICE_CONFIG}", file=sys.stderr)
        return {"STATE_DIRECTORY": str(SERVICE_STATE)}
    return os.environ


def _write(wanted: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Change the file, and say what was, what is, and what it takes to take effect."""
    from cnnbo.daemon.settings import KEYS, config_file
    from cnnbo.daemon.settings.edit import edited, write

    change = edited(config_file(environ), wanted, environ)
    changed = [name for name in wanted if change.before[name] != wanted[name]]
    if not changed:
        typer.echo(f"{change.path} says so already; nothing was changed.")
        return
    write(change.path, change.text)
    for name in changed:
        before, after = (_shown(KEYS[name], _plain(value)) for value in (change.before[name], wanted[name]))
        typer.echo(f"{name}: {before} -> {after}")
    typer.echo(f"Written to {change.path}. {_how_to_take_it_in([KEYS[name] for name in changed], environ)}")
    for name in changed:
        if environ.get(KEYS[name].variable):
            print(f"{KEYS[name].variable} is set here, and wins over the file.", file=sys.stderr)


def _how_to_take_it_in(keys: "list[Key]", environ: Mapping[str, str]) -> str:
    is_service = environ is not os.environ
    unit = "cnnbo" if is_service else "--user cnnbo"
    if all(key.reloads for key in keys):
        other = "" if is_service else " (or by kill -HUP)"
        return f"A running daemon takes it in at: systemctl reload {unit}{other}"
    return f"A running daemon needs a restart for it: systemctl restart {unit}"


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
