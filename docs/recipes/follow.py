"""Follow a study over MQTT: a line for each trial that ends, and the best one when the study has ended.

Usage: python follow.py mqtt://[user:password@]host[:port] STUDY
"""

import asyncio
import json
import ssl
import sys
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt  # 2.x

RETRY_S = 5.0


def connection(url: str) -> aiomqtt.Client:
    """A client for a broker; a new one for each attempt."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "mqtts" else None
    return aiomqtt.Client(
        parts.hostname or "127.0.0.1",
        parts.port or (8883 if tls else 1883),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls_context=tls,
    )


class Follower:
    """Prints each trial that ends, once, whenever it is heard of."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._study: dict[str, Any] = {"ended": None}

    def take(self, body: dict[str, Any]) -> bool:
        """Take what a topic says; returns whether everything is told."""
        if body["schema"] == "cnnbo.study/1":
            self._study = body
        elif body["state"] in ("complete", "failed") and body["id"] not in self._told:
            print(f"#{body['id']}  {body['failure'] or body['value']}", flush=True)
            self._told.add(body["id"])
        # Topics know no order among each other: the study may have ended before its last trial is heard of.
        return self._study["ended"] is not None and len(self._told) >= self._study["finished"]

    def conclude(self) -> None:
        """Print what the study came to."""
        best = self._study["best"]
        said = "no trial completed" if best is None else f"best {best['value']} (#{best['trial']})"
        print(f"{self._study['name']} {self._study['state']}: {said}", flush=True)


async def follow(url: str, study: str) -> None:
    """Print until the study has ended, across any outage of the broker."""
    follower = Follower()
    while True:
        try:
            async with connection(url) as client:
                await client.subscribe([(f"cnnbo/v1/+/study/{study}", 0), (f"cnnbo/v1/+/study/{study}/trial/+", 0)])
                print(f"following {study}", file=sys.stderr, flush=True)
                async for message in client.messages:
                    # An empty payload clears the topic of a study that was archived or deleted.
                    if message.payload and follower.take(json.loads(message.payload)):
                        return follower.conclude()
        except aiomqtt.MqttError as error:
            print(f"no broker ({error}), trying again", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)


if __name__ == "__main__":
    asyncio.run(follow(*sys.argv[1:3]))
