"""Where the control socket is. Apart from its server, so that a command which asks a daemon loads none of one."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SOCKET_NAME = "control.sock"


@asynccontextmanager
async def socket_path(state: Path, name: str = SOCKET_NAME) -> AsyncIterator[str]:
    """A path to the socket that is short enough for the kernel's 107 bytes, however deep the state folder lies."""
    directory = os.open(state, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)
