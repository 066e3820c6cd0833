"""Tells the log what happened."""

import asyncio
import logging

from cnnbo.daemon.sinks.base import Delivery, Message

_log = logging.getLogger(__name__)


class LogSink:
    """Writes events to `logging`, one line each; state and progress are too frequent to be worth a line."""

    def publish(self, message: Message) -> None:
        """Log an event; everything else is passed over."""
        if message.delivery is Delivery.EVENT and message.body is not None:
            told = {key: value for key, value in message.body.items() if value is not None and value is not False}
            _log.info("%s", " ".join(f"{key}={value}" for key, value in told.items()))

    async def run(self) -> None:
        """Nothing is left to deliver: waits until cancelled."""
        await asyncio.Event().wait()
