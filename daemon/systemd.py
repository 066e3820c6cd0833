"""Telling systemd how the daemon is, by its notification protocol (`man 3 sd_notify`)."""

import asyncio
import os
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

PATIENCE_S = 5.0
"""So long a manager may take to make room for a message."""

# Of its own: whatever fills the event loop's threads, like a data folder that hangs, must not keep the watchdog hungry.
_MESSENGER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="systemd")


def notify(*states: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send states like `READY=1` to the service manager.

    Args:
        states: assignments, sent as one message.
        environ: where the address is looked up; a leading `@` means the abstract namespace.

    Returns:
        whether somebody took it; a manager that doesn't listen, or has other things to do, is no reason to fail.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(path)  # unconnected, it couldn't be waited for
            connection.send("\n".join(states).encode())
        except OSError:
            return False
    return True


async def tell(*states: str) -> bool:
    """`notify`, in a thread: the event loop waits for no manager. Messages keep their order."""
    return await asyncio.get_running_loop().run_in_executor(_MESSENGER, lambda: notify(*states))
