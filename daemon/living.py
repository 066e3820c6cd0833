"""A daemon that is up: what its parts and its callers share."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from cnnbo.daemon.settings import Settings


@dataclass(slots=True)
class Daemon:
    """A daemon that is up.

    Attributes:
        settings: those that hold; a reload replaces them.
        note: one line about the devices it found.
        boot: identifies this life of it.
        started_at: seconds since the epoch.
        commit: of the source that it was started from; None = unknown.
        stop: set to have it stop in order.
        hangup: set to have it reload its settings.
        mqtt_url: where its news are, None while there is no broker.
        mqtt_reason: why they aren't there, or what is wrong with them.
        mqtt_starting: whether its broker is being found or started, so that neither of the two is known yet.
    """

    settings: Settings
    note: str
    boot: str
    started_at: float
    commit: str | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hangup: asyncio.Event = field(default_factory=asyncio.Event)
    mqtt_url: str | None = None
    mqtt_reason: str | None = None
    mqtt_starting: bool = False

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.settings.state
