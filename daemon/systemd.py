"""Telling systemd how the daemon is, by its notification protocol (`man 3 sd_notify`)."""

import os
import socket
from collections.abc import Mapping


def notify(*states: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send states like `READY=1` to the service manager.

    Args:
        states: assignments, sent as one message.
        environ: where the address is looked up; a leading `@` means the abstract namespace.

    Returns:
        whether there was somebody to tell; a manager that doesn't listen is no reason to fail.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.sendto("\n".join(states).encode(), path)
        except OSError:
            return False
    return True
