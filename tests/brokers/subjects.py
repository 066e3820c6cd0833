"""The two brokers whose behaviour is compared: mosquitto as we set it up, and the embedded one."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from tests.secured import SecuredBroker
from tests.subscriber import WAIT_S

from cnnbo.daemon.broker import EmbeddedBroker
from cnnbo.daemon.mqtt import BrokerAddress, Failure, connected


class Subject(Protocol):
    """A broker at work.

    Attributes:
        name: what it is called in the table.
        version: its program's.
        writer: who may publish below `topic`.
        reader: who may read there.
    """

    name: str
    version: str
    writer: BrokerAddress
    reader: BrokerAddress

    @property
    def pid(self) -> int:
        """Process id of the broker."""

    async def restart(self, number: signal.Signals) -> None:
        """End it by a signal, and return when it answers again."""


def topic() -> str:
    """A topic that no other check uses, and that both roles may use in their way."""
    return f"cnnbo/v1/tower/study/{secrets.token_hex(4)}"


class Mosquitto:
    def __init__(self) -> None:
        first_line = subprocess.run(["mosquitto", "-h"], text=True, capture_output=True, check=False).stdout
        self.name, self.version = "mosquitto", first_line.split()[2]
        self._broker = SecuredBroker()
        self._broker.start()
        self.writer, self.reader = self._broker.address("tower"), self._broker.address("viewer")

    @property
    def pid(self) -> int:
        return self._broker.pid

    async def restart(self, number: signal.Signals) -> None:
        await asyncio.to_thread(self._broker.end, number)
        await asyncio.to_thread(self._broker.start)

    def close(self) -> None:
        self._broker.close()


class Embedded:
    def __init__(self, broker: EmbeddedBroker) -> None:
        assert broker.url is not None
        self.name, self.version = "embedded", version("iotcore")
        self.writer = self.reader = BrokerAddress.parse(broker.url)
        self._broker = broker

    @property
    def pid(self) -> int:
        assert self._broker.pid is not None
        return self._broker.pid

    async def restart(self, number: signal.Signals) -> None:
        former = self.pid
        os.kill(former, number)  # it is started again by itself
        async with asyncio.timeout(WAIT_S):
            while self._broker.pid in (former, None) or not await _answers(self.reader):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)


async def _answers(address: BrokerAddress) -> bool:
    try:
        async with connected(address.client(f"probe-{secrets.token_hex(4)}")):
            return True
    except Failure:
        return False


@contextlib.asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Embedded]:
    async with EmbeddedBroker(folder, 0) as broker:
        yield Embedded(broker)
