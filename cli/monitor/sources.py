"""Where a broker is to be found: at the address that was given, or where this machine's daemon publishes now."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from cnnbo.daemon import client
from cnnbo.daemon.credentials import broker_of_box
from cnnbo.daemon.mqtt import BrokerAddress, reason_of
from cnnbo.scheduler.errors import CnnboError

_ANSWER_S = 5.0


@dataclass(slots=True)
class Source:
    """A broker to listen to.

    Attributes:
        address: where it is, or was when it was last found.
        home: state folder of the daemon that tells where it is: after a restart that may be elsewhere; None = the
            address is given.
    """

    address: BrokerAddress
    home: Path | None = None
    _is_answered: bool = True

    @property
    def name(self) -> str:
        """Tells it from others, for good, and never shows a password."""
        return str(self.address) if self.home is None else "the broker of this box"

    async def find(self) -> BrokerAddress:
        """Where it is now; where it was last while the daemon is away, whose broker may go on without it."""
        if self.home is not None:
            url = await self._told(self.home)
            if url is not None:
                self.address = broker_of_box(url, os.environ, self.home)
        return self.address

    async def _told(self, home: Path) -> str | None:
        self._is_answered = False
        try:
            async with asyncio.timeout(_ANSWER_S):
                url = (await client.request(home, "status"))["mqtt"]
        except (CnnboError, TimeoutError):
            return None
        self._is_answered = True
        return url if isinstance(url, str) else None

    def reason_of(self, error: BaseException) -> str:
        """Why there is no connection to it, as the beginning of a sentence."""
        if not self._is_answered:
            return "the daemon of this box is not running: cnnbo daemon"
        return f"no connection to {reason_of(error, self.address)}"
