"""Debian's MQTT broker for tests that need a broker of their own, to be killed and started again."""

import asyncio
import os
import shutil
import socket
import subprocess
from pathlib import Path

_WAIT_S = 30.0  # for what is bound to happen


class Mosquitto:
    """Debian's broker on a port of its own that survives a restart."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true", scheme: str = "mqtt") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        # user root: it would otherwise change to an account that can't read the test's folder
        self._config.write_text(f"listener {self.port} 127.0.0.1\nuser root\npersistence false\n{extra}\n")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert program is not None
        self._process = await asyncio.create_subprocess_exec(
            *(program, "-c", str(self._config)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(_WAIT_S):
            while not await _accepts(self.port):  # noqa: ASYNC110 - it tells nobody when it is ready
                await asyncio.sleep(0.02)

    async def shut_down(self) -> None:
        """End it as systemd does: with `persistence true` it writes down what it retains."""
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
