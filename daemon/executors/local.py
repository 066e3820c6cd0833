"""Runs attempts on this box, each under a trial runner of its own."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnbo.daemon import processes
from cnnbo.daemon.executors.base import ExitEvidence, Launch, Progress
from cnnbo.daemon.streams import read_progress

# The daemon's own interpreter: the runner must be able to import this package, the command need not.
_RUNNER = (sys.executable, "-P", "-m", "cnnbo.daemon.runner")

# A runner's line stays well below: 64 metrics of 100 characters, each escaped.
_LINE_LIMIT = 256 << 10


class _Lifeline:
    """The line to one runner: what is asked before there is one is said as soon as there is."""

    def __init__(self) -> None:
        self._asked: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None

    def connect(self, writer: asyncio.StreamWriter, launch: Launch) -> None:
        self._writer = writer
        writer.writelines([json.dumps(launch.to_dict()).encode() + b"\n", *self._asked])

    def ask_to_stop(self, grace_s: float) -> None:
        line = json.dumps({"stop": grace_s}).encode() + b"\n"
        if self._writer is None:
            self._asked.append(line)
        elif not self._writer.is_closing():
            self._writer.write(line)


class LocalExecutor:
    """The executor for this box; see `Executor` for what it promises.

    Each attempt costs one small process, the runner, which holds the attempt's life: as long as `run` is awaited its
    standard input stays open, and whatever ends this process ends the attempt.
    """

    def __init__(self) -> None:
        self._lifelines: dict[str, _Lifeline] = {}

    async def run(self, launch: Launch, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        """Run one attempt to its end.

        Raises:
            ValueError: an attempt of this key is running already.
            OSError: no runner could be started, for want of processes, memory or disk: nothing the command did.
        """
        if launch.key in self._lifelines:
            raise ValueError(f"attempt {launch.key} is running already")
        lifeline = self._lifelines[launch.key] = _Lifeline()
        try:
            return await self._run(launch, lifeline, on_progress)
        finally:
            del self._lifelines[launch.key]

    async def _run(self, launch: Launch, lifeline: _Lifeline, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        runner = await _start_runner(launch)
        assert runner.stdin is not None and runner.stdout is not None
        evidence = None
        try:
            lifeline.connect(runner.stdin, launch)
            evidence = await _follow(runner.stdout, on_progress)
        finally:
            await _to_the_end(_bury(runner, launch))
        if evidence is None:
            message = f"The trial runner ended unexpectedly (status {runner.returncode}); see runner.log."
            return ExitEvidence(stopped_by="runner", message=message)
        return evidence

    def stop(self, key: str, grace_s: float) -> None:
        """Ask an attempt to end within `grace_s` seconds."""
        if lifeline := self._lifelines.get(key):
            lifeline.ask_to_stop(grace_s)

    def sweep(self, tokens: Sequence[str]) -> int:
        """Kill what is left of attempts of an earlier life; blocks for milliseconds, call it before serving."""
        return processes.kill_carriers(tokens) if tokens else 0


async def _start_runner(launch: Launch) -> Process:
    # A session of its own: a Ctrl-C in the daemon's terminal is the daemon's to interpret.
    with (launch.directory / "runner.log").open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *_RUNNER, stdin=PIPE, stdout=PIPE, stderr=errors, start_new_session=True, limit=_LINE_LIMIT
        )


async def _messages(stream: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects a runner sends; anything else is passed over."""
    while True:
        try:
            line = await stream.readline()
            if not line:
                return
            message = json.loads(line)
        except (ValueError, RecursionError):  # no JSON, or a line beyond the limit, which the reader has dropped
            continue
        if isinstance(message, dict):
            yield message


async def _follow(stream: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> ExitEvidence | None:
    """Pass progress on until the runner tells the end; None if it never does."""
    async for message in _messages(stream):
        if progress := read_progress(message.get("progress")):
            on_progress(progress)
        elif isinstance(evidence := message.get("exit"), dict):
            with suppress(ValueError):  # not understood: as good as none
                return ExitEvidence.from_dict(evidence)
    return None


async def _bury(runner: Process, launch: Launch) -> None:
    """Cut the lifeline, see the runner out, and make sure that nothing of the attempt is left."""
    assert runner.stdin is not None and runner.stdout is not None
    runner.stdin.close()
    while await runner.stdout.read(_LINE_LIMIT):  # it must never wait for us while it kills
        pass
    if await runner.wait() != 0:  # it died itself: the command went with it, what the command forked may not have
        while await asyncio.to_thread(processes.kill_carriers, (launch.token,)):
            pass
    await asyncio.to_thread(_remove_if_empty, launch.directory / "runner.log")


def _remove_if_empty(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size == 0:
            log.unlink()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end even if cancelled meanwhile, and raise that cancellation only then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
