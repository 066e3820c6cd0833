"""The tasks that speak MQTT: news out, and orders in. They may end and begin anew while trials run."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.journal import Journal
from cnnbo.daemon.living import Daemon
from cnnbo.daemon.settings import REQUESTS_NEED, Settings
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.tasks import end_tasks
from cnnbo.scheduler.errors import ConfigurationError

if TYPE_CHECKING:
    from cnnbo.daemon.mqtt import BrokerAddress

log = logging.getLogger(__name__)

REOPEN_S = 5.0
"""So long after a bug in it the door for requests over MQTT is opened again."""


def broker_of(settings: Settings) -> "BrokerAddress | None":
    """The broker of the settings; None = one of our own, or none at all.

    Raises:
        ConfigurationError: its password or its CA can't be read, or requests would be taken with no password.
    """
    if not settings.mqtt.enabled:
        return None
    from cnnbo.daemon.credentials import daemon_address, is_this_machine

    broker = None
    if settings.mqtt.url is not None:
        broker = daemon_address(settings.mqtt)
    if not settings.mqtt.requests:
        return broker
    if broker is None or not broker.user or not broker.password:
        raise ConfigurationError(REQUESTS_NEED)
    if not broker.tls and not is_this_machine(broker.host):
        log.warning(
            "mqtt.requests: passwords and orders go to %s in clear, so whoever is on the way can give orders too; "
            "set mqtt.url to mqtts://%s (`cnnbo broker configure` sets up a broker with TLS)",
            *(broker, broker.host),
        )
    return broker


class Speaker:
    """Speaks MQTT for a daemon, as its settings say.

    Args:
        group: where its tasks run.
        daemon: is told where the news are, and why they aren't.
        shell: has the news.
        journal: keeps events until a broker has them.
        handler: carries out orders.
        logs: folder for the log of an embedded broker.

    Attributes:
        tasks: those that run, to be ended with the daemon's own.
    """

    def __init__(
        self, group: asyncio.TaskGroup, daemon: Daemon, shell: Shell, journal: Journal, handler: Handler, logs: Path
    ) -> None:
        self._group = group
        self._daemon = daemon
        self._shell = shell
        self._journal = journal
        self._handler = handler
        self._logs = logs
        self._envelope = Envelope(daemon.boot)  # one for life: numbers rise over a change of the broker, too
        self._broker: BrokerAddress | None = None
        self.tasks: list[asyncio.Task[Any]] = []

    async def begin(self, settings: Settings, broker: "BrokerAddress | None") -> None:
        """Begin to speak, if the settings say so.

        Args:
            settings: those that hold from now on.
            broker: what `broker_of` says of them.
        """
        self._broker = broker
        if not settings.mqtt.enabled:
            await self._journal.keep_no_events()
            return
        await self._journal.keep_events(self._daemon.boot)
        self._daemon.mqtt_starting = True
        self.tasks.append(self._group.create_task(self._tell_news(settings, broker), name="mqtt"))
        if broker is not None and settings.mqtt.requests:
            self.tasks.append(self._group.create_task(self._take_orders(settings, broker), name="requests"))

    async def change(self, settings: Settings, broker: "BrokerAddress | None") -> bool:
        """Say goodbye and begin anew, if anything about MQTT is new, a password in its file included.

        Returns:
            whether anything is.
        """
        if settings.mqtt == self._daemon.settings.mqtt and broker == self._broker:
            return False
        await end_tasks(self.tasks)
        self.tasks.clear()
        self._daemon.mqtt_url = self._daemon.mqtt_reason = None
        self._daemon.mqtt_starting = False
        await self.begin(settings, broker)
        return True

    async def _tell_news(self, settings: Settings, broker: "BrokerAddress | None") -> None:
        """Publish the news, through the broker of the settings or one of our own."""
        # Imported here: the libraries cost a third of the start.
        from cnnbo.daemon.broker import EmbeddedBroker
        from cnnbo.daemon.mqtt import BrokerAddress
        from cnnbo.daemon.sinks.mqtt import MqttSink

        async with AsyncExitStack() as stack:
            if broker is None:
                embedded = await stack.enter_async_context(
                    EmbeddedBroker(settings.state, settings.mqtt.port, self._logs)
                )
                self._daemon.mqtt_reason = embedded.reason
                broker = None if embedded.url is None else BrokerAddress.parse(embedded.url)
            self._daemon.mqtt_url = None if broker is None else str(broker)  # without the password
            self._daemon.mqtt_starting = False
            if broker is None:
                await self._journal.keep_no_events()
                await asyncio.Event().wait()  # the reason is in `status`; training goes on without news
                return

            def on_state(_is_connected: bool, reason: str | None) -> None:
                self._daemon.mqtt_reason = reason

            sink = MqttSink(
                broker,
                settings.node,
                envelope=self._envelope,
                boot=self._daemon.boot,
                events=self._journal,
                base=settings.mqtt.base,
                on_state=on_state,
            )
            self._shell.add_sink(sink)
            stack.callback(self._shell.remove_sink, sink)
            await sink.run()

    async def _take_orders(self, settings: Settings, broker: "BrokerAddress") -> None:
        """Answer requests over MQTT; no bug in that may end the daemon, and its trials with it."""
        from cnnbo.daemon.mqtt_door import MqttDoor

        while True:
            try:
                door = MqttDoor(
                    broker,
                    f"{settings.mqtt.base}/v1/{settings.node}",
                    boot=self._daemon.boot,
                    handler=self._handler,
                    receipts=await self._journal.receipts(),
                )
                await door.run()
            except Exception:
                log.exception("a bug in cnnbo: requests over MQTT failed; they are taken again in %.0f s", REOPEN_S)
                await asyncio.sleep(REOPEN_S)
