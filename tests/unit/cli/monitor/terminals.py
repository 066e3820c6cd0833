"""A terminal that a test sits at."""

import asyncio
import os
import pty

WAIT_S = 30.0


class Terminal:
    """A pseudo-terminal and everything a program wrote to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.output = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self) -> None:
        self.output += os.read(self.ours, 65536)
        self._news.set()

    async def until(self, text: bytes) -> None:
        """Wait until a text was written."""
        try:
            async with asyncio.timeout(WAIT_S):
                while text not in self.output:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} never came: {self.output[-2000:]!r}") from None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.ours)
        os.close(self.ours)
        os.close(self.theirs)
