"""`cnnbo broker`: make a mosquitto ready for the network, and log in at one."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbo.cli import options
from cnnbo.cli.passwords import ask_password
from cnnbo.scheduler.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from cnnbo.daemon.broker_certificate import GivenCertificate
    from cnnbo.daemon.broker_files import Plan
    from cnnbo.daemon.mosquitto import Role
    from cnnbo.daemon.mqtt import BrokerAddress

app = typer.Typer(help="Make a broker ready for the network, or log in at one.", no_args_is_help=True)

_REPLY_S = 5.0  # for any single answer of a broker


@app.command()
def configure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write, like /etc/mosquitto/cnnbo.")],
    user: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:ROLE", help="Add a user: viewer, operator, or node (a daemon); several allowed."),
    ] = None,
    new_password: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Give a user a new password; several allowed."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name or address of the broker; several allowed."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port for TLS; at first 8883.")] = None,
    base: Annotated[str | None, typer.Option(help="Base of the topics; at first mqtt.base of the settings.")] = None,
    node: options.Node = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Use this certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="The CA that signed it (PEM).")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for new passwords instead of making them up.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written; no secrets.")] = False,
) -> None:
    """Write mosquitto's configuration: TLS, users and their rights. What is there already is kept."""
    from cnnbo.daemon.broker_certificate import default_hosts
    from cnnbo.daemon.broker_files import Wishes, plan
    from cnnbo.daemon.settings import checked_base

    settings = options.settings(None, node)
    try:
        wanted_base = None if base is None else checked_base(base)
    except ValueError as error:
        raise ConfigurationError(f"--base: {error}.") from None
    wishes = Wishes(
        folder.absolute(),
        settings.node,
        default_hosts(),
        default_base=settings.mqtt.base,
        port=port,
        base=wanted_base,
        users=dict(_named_role(text) for text in user or ()),
        renewed=tuple(new_password or ()),
        hosts=tuple(host or ()),
        given=_given(cert, key, ca),
    )
    planned = plan(wishes, _ask_for_new_password if ask else lambda user: None)
    if dry_run:
        _show(planned)
        return
    planned.write()
    _report(planned)


def _named_role(text: str) -> tuple[str, "Role"]:
    from cnnbo.daemon.mosquitto import Role

    name, _, role = text.partition(":")
    if role not in tuple(Role):
        raise ConfigurationError(
            f"--user {text}: write NAME:ROLE, with one of the roles {', '.join(Role)}; a node is called as its daemon."
        )
    return name, Role(role)


def _given(cert: Path | None, key: Path | None, ca: Path | None) -> "GivenCertificate | None":
    from cnnbo.daemon.broker_certificate import GivenCertificate

    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None:
        raise ConfigurationError(
            "a certificate of your own is given as --cert FILE and --key FILE; add what is missing."
        )
    return GivenCertificate(cert, key, ca)


def _ask_for_new_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError("--ask takes a terminal to ask at; leave it out to have passwords made up.")
    return str(typer.prompt(f"New password of {user}", hide_input=True, confirmation_prompt=True, err=True))


def _show(planned: "Plan") -> None:
    typer.echo(f"In {planned.folder} would be:")
    for file in planned.files:
        secrecy = ", secret" if file.is_secret else ""
        typer.echo(f"\n{file.path.relative_to(planned.folder)} ({file.change}{secrecy})")
        if not file.is_secret and file.path.suffix != ".crt":
            typer.echo("".join(f"    {line}\n" for line in file.content.decode().splitlines()), nl=False)
    for path in planned.leftovers:
        typer.echo(f"\n{path.relative_to(planned.folder)} (removed)")
    typer.echo(f"\nThe certificate: {planned.certificate}.\nNothing was written.")


def _report(planned: "Plan") -> None:
    folder = planned.folder
    for file in planned.files:
        if file.change != "kept":
            typer.echo(f"{file.change:<7}  {file.path}")
    for path in planned.leftovers:
        typer.echo(f"removed  {path}")
    typer.echo(f"certificate: {planned.certificate}")
    typer.echo(f"users: {', '.join(f'{user} ({role})' for user, role in planned.broker.users.items())}")
    if _notes(planned):
        typer.echo(f"passwords: {folder}/passwords, each readable by its owner alone; delete what you handed on")
    typer.echo(_next_steps(planned))
    if planned.broker_has_to is not None:
        typer.echo(f"Mosquitto does not go by this until you type: systemctl {planned.broker_has_to} mosquitto")


def _notes(planned: "Plan") -> dict[str, Path]:
    """The files with passwords to hand on, by user."""
    return {file.path.name: file.path for file in planned.files if file.path.parent.name == "passwords"}


def _next_steps(planned: "Plan") -> str:
    """What is left to do, to be pasted: for whoever is new, else for the first of each kind."""
    import shlex

    from cnnbo.daemon.mosquitto import Role

    folder, broker = planned.folder, planned.broker
    made = {file.path.name for file in planned.files if file.path.parent.name == "passwords" and file.change != "kept"}
    users = sorted(broker.users, key=lambda user: user not in made)  # a stable sort: the new ones first
    node = next((user for user in users if broker.users[user] is Role.NODE), "NODE")
    person = next((user for user in users if broker.users[user] is not Role.NODE), "USER")
    url = f"mqtts://{f'[{broker.host}]' if ':' in broker.host else broker.host}:{broker.port}"
    note = _notes(planned).get(node, Path("/etc/cnnbo/mqtt.password"))
    authority = f'\n    ca = "{folder}/ca.crt"' if planned.has_authority else ""
    copies = "ca.crt and the password" if planned.has_authority else "the password"
    return f"""
Next:
1. The broker reads it once it is linked, and started again:
    ln -sf {shlex.quote(f"{folder}/cnnbo.conf")} /etc/mosquitto/conf.d/cnnbo.conf && systemctl restart mosquitto
2. The daemon of {node}, in its cnnbo.toml:
    [mqtt]
    url = "{url}"
    user = "{node}"
    password_file = "{note}"{authority}
    requests = true    # operators may give orders; leave it out for news alone
   A daemon of another user, or on another box, needs a copy of its own (install -m 600 -o USER), and its path here.
3. On another machine, with {copies} of {person}:
    cnnbo broker login {url.replace("//", f"//{person}@")}{" --ca ca.crt" if planned.has_authority else ""}
    cnnbo watch --broker {url}"""


@app.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Like mqtts://viewer@tower.lan; without the password.")],
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CA of the broker's certificate, where it is no public one; kept."),
    ] = None,
) -> None:
    """Try a user at a broker and keep the password for `--broker`. It is asked for, or read from stdin."""
    import asyncio
    from dataclasses import replace

    from cnnbo.daemon.credentials import broker_address, store
    from cnnbo.daemon.mqtt import BrokerAddress
    from cnnbo.daemon.tls import check_authority

    address = BrokerAddress.parse(url)
    if address.password is not None:
        raise ConfigurationError(
            f"{address}: leave the password out of the URL, `ps` shows it; it is asked for, or read from stdin."
        )
    if ca is None:
        ca = broker_address(str(address), os.environ).ca if address.tls else None  # of an earlier login
    else:
        if not address.tls:
            raise ConfigurationError(f"--ca: {address} is without TLS; write mqtts://.")
        check_authority(ca)
        ca = ca.absolute()
    user = address.user or _ask_at_terminal("User")
    address = replace(address, user=user, password=ask_password(user, str(address)), ca=ca)
    asyncio.run(_try(address))
    path = store(address, os.environ)
    typer.echo(f"{user} is known at {address}; kept in {path} for --broker {address}.")


def _ask_at_terminal(what: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to ask for the user; write it into the URL: mqtts://USER@HOST.")
    return str(typer.prompt(what, err=True))


async def _try(address: "BrokerAddress") -> None:
    import secrets

    from cnnbo.daemon.mqtt import Failure, connected, reason_of

    try:
        async with connected(address.client(f"cnnbo-login-{secrets.token_hex(6)}", reply_s=_REPLY_S)):
            return
    except Failure as error:
        raise RequestError(f"{reason_of(error, address)}. Nothing was stored.") from error
