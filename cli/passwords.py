"""Asking for a password, so that it stands in no command line and on no screen."""

import sys

import typer


def ask_password(user: str, broker: str) -> str:
    """A user's password at a broker: typed at the terminal, unseen, or the first line of stdin.

    Raises:
        ConfigurationError: there is none.
    """
    from cnnbo.scheduler.errors import ConfigurationError

    if sys.stdin.isatty():
        return str(typer.prompt(f"Password of {user} at {broker}", hide_input=True, err=True))
    password = sys.stdin.readline().removesuffix("\n")
    if not password:
        raise ConfigurationError("no password on stdin; type the command at a terminal, or end it with < FILE.")
    return password
