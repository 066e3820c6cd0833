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
    """Prints what is worth telling of one study."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._seen: set[tuple[str, int]] = set()

    def take(self, body: dict[str, Any]) -> bool:
        """Take a message; returns whether the study has ended."""
        if body["schema"] == "cnnbo.study/1":
            return self._take_study(body)
        # Events arrive at least once: the same `boot` and `seq` again is a copy.
        key = body["boot"], body["seq"]
        if (
            body["event"] in ("trial_complete", "trial_failed")
            and body["study"] == self._study
            and key not in self._seen
        ):
            print(f"#{body['trial']}  {body['value'] if body['failure'] is None else body['failure']}", flush=True)
        self._seen.add(key)
        return False

    def _take_study(self, body: dict[str, Any]) -> bool:
        if body["ended"] is None:
            return False
        best = body["best"]
        said = "no trial completed" if best is None else f"best {best['value']} (#{best['trial']})"
        print(f"{body['name']} {body['state']}: {said}", flush=True)
        return True


async def follow(url: str, study: str) -> None:
    """Print until the study has ended, across any outage of the broker."""
    follower = Follower(study)
    while True:
        try:
            async with connection(url) as client:
                await client.subscribe("cnnbo/v1/+/event", qos=1)
                await client.subscribe(f"cnnbo/v1/+/study/{study}", qos=0)
                async for message in client.messages:
                    # An empty payload clears the topic of a study that was archived or deleted.
                    if message.payload and follower.take(json.loads(message.payload)):
                        return
        except aiomqtt.MqttError as error:
            print(f"no broker ({error}), trying again", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)


if __name__ == "__main__":
    asyncio.run(follow(*sys.argv[1:3]))
