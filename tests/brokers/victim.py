"""A client in a process of its own, to be killed or frozen."""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict

from tests.subscriber import WAIT_S

from cnnbo.daemon.mqtt import BrokerAddress

_PROGRAM = """
import asyncio, json, pathlib, sys
import aiomqtt
from cnnbo.daemon.mqtt import BrokerAddress

async def main():
    told = json.load(sys.stdin)
    ca = told["address"].pop("ca")
    address = BrokerAddress(**told["address"], ca=None if ca is None else pathlib.Path(ca))
    will = aiomqtt.Will(told["topic"] + "/will", b"gone", qos=1)
    async with address.client(told["identifier"], will=will, keepalive_s=told["keepalive_s"]) as client:
        if told["subscribes"]:
            await client.subscribe(told["topic"], qos=0)
        print(flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def victim(
    address: BrokerAddress, topic: str, *, keepalive_s: int, subscribes: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, connected; its last will on `<topic>/will` is `gone`."""
    told = {
        "address": asdict(address) | {"ca": None if address.ca is None else str(address.ca)},
        "topic": topic,
        "identifier": f"victim-{secrets.token_hex(4)}",
        "keepalive_s": keepalive_s,
        "subscribes": subscribes,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(told).encode())  # no arguments: `ps` shows those
        process.stdin.close()
        async with asyncio.timeout(WAIT_S):
            assert await process.stdout.readline() == b"\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
