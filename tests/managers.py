"""A service manager to the daemon: the socket on which it says how it is, as it does to systemd."""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PATIENCE_S = 60.0


@dataclass
class Manager:
    """Hears what a daemon says.

    Attributes:
        environment: what a daemon needs to have in its environment.
        heard: each message, as its assignments.
    """

    connection: socket.socket
    environment: dict[str, str]
    heard: list[dict[str, str]] = field(default_factory=list)

    def next(self) -> dict[str, str]:
        """The next message, as its assignments."""
        message = self.connection.recv(65536).decode()
        self.heard.append(dict(line.split("=", 1) for line in message.splitlines()))
        return self.heard[-1]

    def wait_for(self, is_meant: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The next message that is meant; those before it are passed over."""
        while not is_meant(message := self.next()):
            pass
        return message

    def wait_for_status(self, text: str) -> dict[str, str]:
        """The next message with this in its status line."""
        return self.wait_for(lambda message: text in message.get("STATUS", ""))

    def wait_until_ready(self) -> None:
        """Wait until the daemon has started."""
        self.wait_for(lambda message: message.get("READY") == "1")


@contextmanager
def managing() -> Iterator[Manager]:
    """A manager that listens while the block runs."""
    name = f"cnnbo-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.bind(f"\0{name}")
        connection.settimeout(PATIENCE_S)
        yield Manager(connection, {"NOTIFY_SOCKET": f"@{name}"})
