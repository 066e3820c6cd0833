"""An executor without processes, for tests of whoever uses one: the test says how each attempt goes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cnnbo.daemon.executors.base import ExitEvidence, Launch, Progress


@dataclass(slots=True)
class _Run:
    launch: Launch
    on_progress: Callable[[Progress], None]
    end: asyncio.Future[ExitEvidence]


@dataclass(slots=True)
class FakeExecutor:
    """Runs attempts in name only: each waits until the test finishes it.

    Attributes:
        launches: everything that was ever run, in order.
        stops: every stop asked for, as (key, grace in seconds), in order.
        swept: every token asked to be swept, in order.
        obeys_stop: whether an attempt that is asked to stop does so at once; else the test finishes it.
    """

    launches: list[Launch] = field(default_factory=list)
    stops: list[tuple[str, float]] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    obeys_stop: bool = True
    _runs: dict[str, _Run] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, launch: Launch, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        """Wait until the test says how the attempt ended."""
        if launch.key in self._runs:
            raise ValueError(f"attempt {launch.key} is running already")
        run = self._runs[launch.key] = _Run(launch, on_progress, asyncio.get_running_loop().create_future())
        self.launches.append(launch)
        try:
            async with self._changed:
                self._changed.notify_all()
            return await run.end
        finally:
            del self._runs[launch.key]

    def stop(self, key: str, grace_s: float) -> None:
        """Note that it was asked for, and obey unless told otherwise."""
        self.stops.append((key, grace_s))
        if self.obeys_stop and key in self._runs and not self._runs[key].end.done():
            self.finish(key, ExitEvidence(signal=15, stopped_by="request"))

    def sweep(self, tokens: Sequence[str]) -> int:
        """Note the tokens; nothing is ever left of a fake attempt."""
        self.swept.extend(tokens)
        return 0

    @property
    def running(self) -> tuple[str, ...]:
        """Keys of the attempts that run now, in the order of their start."""
        return tuple(self._runs)

    async def started(self, key: str) -> Launch:
        """Wait until the attempt runs."""
        async with self._changed:
            await self._changed.wait_for(lambda: key in self._runs)
        return self._runs[key].launch

    def report(self, key: str, progress: Progress) -> None:
        """Let a running attempt report progress. KeyError if it doesn't run."""
        self._runs[key].on_progress(progress)

    def finish(
        self, key: str, evidence: ExitEvidence | None = None, result: Mapping[str, object] | None = None
    ) -> None:
        """End a running attempt. KeyError if it doesn't run.

        Args:
            key: which one.
            evidence: how it ended; missing: exit status 0.
            result: written to its result.json first, as a real trial does; missing: none.
        """
        run = self._runs[key]
        if result is not None:
            run.launch.directory.mkdir(parents=True, exist_ok=True)
            (run.launch.directory / "result.json").write_text(json.dumps(result))
        run.end.set_result(evidence or ExitEvidence(exit_code=0))
