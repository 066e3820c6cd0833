"""The daemon's side of the proposer: one process, one ask at a time, and always an answer.

An ask that needs no surrogate (random, Sobol, the initial design) is answered by a thread of the daemon. The others go
to the proposer process. Whatever goes wrong there, the next Sobol point is proposed instead, with a note that says why.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from cnnbo.daemon.logfiles import CHILD_LOG_BYTES, keep_end
from cnnbo.daemon.proposer_process import ENVIRONMENT, versions
from cnnbo.daemon.proposer_wire import Message, bytes_from_text, history_to_data, space_to_data
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.errors import CnnboError, SpaceExhaustedError
from cnnbo.scheduler.optimizers.base import History, Source, Suggestion
from cnnbo.scheduler.optimizers.distinct import TakenPoints
from cnnbo.scheduler.optimizers.registry import create_optimizer, is_heavy
from cnnbo.scheduler.space import Point, SearchSpace

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "cnnbo.daemon.proposer_process")
"""How the proposer process is started; the daemon's process id is added."""

_NONSENSE = "the proposer answered nonsense"
_NO_POINTS = "the proposer answered with points that can't be taken"
_LINE_LIMIT = 64 * 2**20
_START_LIMIT_S = 180.0
_LONGEST_BACK_OFF_S = 300.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """The answer to an ask, plain data.

    Attributes:
        points: `count` canonical points, distinct from each other and from all that was taken.
        source: where they came from; `sobol` beside a note is a fallback.
        insight: what the surrogate believes, JSON data.
        hint: to be handed back with the next ask, or None.
        note: why this is a fallback, as a sentence; None when it is not one.
        seconds: from the beginning of its turn to the answer.
        environment: versions and thread count, which decide whether the ask can be repeated bit for bit.
    """

    points: tuple[Point, ...]
    source: Source
    insight: Mapping[str, object]
    hint: bytes | None
    note: str | None
    seconds: float
    environment: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Limits:
    """When the proposer process is given up, and when it is replaced.

    Attributes:
        deadline_s: how long an ask may take, from the beginning of its turn, a cold start included.
        asks: after so many asks the process is replaced; memory that a library leaks goes with it.
        memory_mib: above this resident memory it is replaced, too.
    """

    deadline_s: float = 30.0
    asks: int = 50
    memory_mib: float = 2048.0


class ProposerFailedError(CnnboError):
    """The proposer gave no usable answer; the text says why and never leaves this module but as a note.

    Attributes:
        is_broken: whether the process can't be used again.
    """

    def __init__(self, message: str, *, is_broken: bool) -> None:
        self.is_broken = is_broken
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What an optimizer is built from."""

    optimizer: str
    space: SearchSpace
    seed: int

    def to_data(self) -> Message:
        return {"optimizer": self.optimizer, "space": space_to_data(self.space), "seed": self.seed}


@dataclass(slots=True)
class _Child:
    """A proposer process and the two pipes to it."""

    process: asyncio.subprocess.Process
    asks: int = 0
    rss_mib: float = 0.0
    _last_id: int = field(default=0, init=False)

    @classmethod
    async def start(cls, command: Sequence[str], log: Path) -> Self:
        """Start a process in a session of its own (Ctrl-C is not for it), its stderr appended to `log`."""
        stderr = await _opened(log)
        with stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,
                limit=_LINE_LIMIT,
            )
        logger.debug("proposer process %d started", process.pid)
        return cls(process)

    async def request(self, verb: str, data: Message) -> Message:
        """Send a request and wait for its answer.

        Raises:
            ProposerFailedError: the process ended, answered nonsense, or answered that it failed.
            SpaceExhaustedError: it says so.
        """
        self._last_id += 1
        await self._send({"id": self._last_id, "verb": verb, **data})
        answer = await self._receive()
        while answer["id"] < self._last_id:  # of an ask whose caller was cancelled
            answer = await self._receive()
        rss_mib, message = answer.get("rss_mib", 0.0), str(answer.get("message"))
        if not isinstance(rss_mib, int | float):
            raise ProposerFailedError(_NONSENSE, is_broken=True)
        self.rss_mib = rss_mib
        match answer.get("error"):
            case None:
                return answer
            case "exhausted":
                raise SpaceExhaustedError(message)
            case error:
                raise ProposerFailedError(message, is_broken=error != "fit")

    async def _send(self, message: Message) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise await self._ended() from error

    async def _receive(self) -> Message:
        assert self.process.stdout is not None
        try:
            line = await self.process.stdout.readline()
        except ValueError as error:  # longer than the limit
            raise ProposerFailedError("the proposer answered without end", is_broken=True) from error
        if not line:
            raise await self._ended()
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProposerFailedError(_NONSENSE, is_broken=True) from error
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
            raise ProposerFailedError(_NONSENSE, is_broken=True)
        return answer

    async def _ended(self) -> ProposerFailedError:
        status = await self.process.wait()
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        return ProposerFailedError(f"the proposer process ended ({how})", is_broken=True)

    async def kill(self) -> None:
        """End the process now, whatever it is doing, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        # Killed processes go at once; one that hangs in the kernel must not hold the daemon up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.process.wait()


class Proposer:
    """Answers asks. Use as an async context manager; leaving it ends the process.

    Args:
        log: file that receives what the process and its libraries print.
        limits: when it is given up and when replaced.
        command: how the process is started.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        log: Path,
        limits: Limits | None = None,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._limits = limits or Limits()
        self._command = tuple(command)
        self._clock = clock
        self._turn = asyncio.Lock()  # fair: asks are served in the order they came
        self._group = asyncio.TaskGroup()
        self._background: set[asyncio.Task[None]] = set()
        self._child: _Child | None = None
        self._preparation: asyncio.Task[None] | None = None
        self._successor: _Child | None = None
        self._subjects: dict[_Subject, None] = {}
        self._failures = 0
        self._not_before = -float("inf")

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._background:
            task.cancel()
        try:
            # Without the error: the group would wrap what our caller raised in a group of its own.
            await self._group.__aexit__(None, None, None)
        finally:
            await self._drop_all()

    @property
    def pid(self) -> int | None:
        """Process id of the proposer process now in use, or None."""
        return None if self._child is None else self._child.process.pid

    def take_deadline(self, deadline_s: float) -> None:
        """Have asks from now on take so long at most, in seconds; see `Limits`."""
        self._limits = replace(self._limits, deadline_s=deadline_s)

    def warm(self, optimizer: str, space: SearchSpace, seed: int) -> None:
        """Have a process load its libraries and trace its graphs, in the background; call when a study starts."""
        subject = _Subject(optimizer, space, seed)
        self._remember(subject)
        if self._child is None:
            self._prepare()
        else:
            self._spawn(self._warm(subject), "proposer-warm")

    async def suggest(
        self, study: str, optimizer: str, space: SearchSpace, seed: int, history: History, ask: int, count: int
    ) -> Proposal:
        """Propose `count` points for a study; see `Optimizer.suggest`. Always answers within the deadline of its turn.

        Args:
            study: name of the study, for the log.
            optimizer: name of the optimizer.
            space: the study's search space.
            seed: the study's seed.
            history: what is known.
            ask: how many points the study asked for before.
            count: how many points to return, >= 1.

        Raises:
            SpaceExhaustedError: fewer than `count` configurations are left.
        """
        subject = _Subject(optimizer, space, seed)
        if not is_heavy(optimizer, history):
            return await self._suggest_here(subject, history, ask, count, note=None)
        try:
            async with self._turn:
                return await self._ask_in_turn(subject, history, ask, count)
        except ProposerFailedError as error:
            note = str(error)
        logger.warning("study %s: ask %d answered with a Sobol point: %s; see %s", study, ask, note, self._log)
        return await self._suggest_here(_Subject("sobol", space, seed), history, ask, count, note)

    async def _suggest_here(
        self, subject: _Subject, history: History, ask: int, count: int, note: str | None
    ) -> Proposal:
        """Answer from a thread of the daemon: scipy takes a second to import."""
        started = self._clock()
        suggestion, environment = await asyncio.to_thread(_suggest_inline, subject, history, ask, count)
        return Proposal(
            points=tuple(tuple(row) for row in suggestion.points.tolist()),
            source=suggestion.source,
            insight=suggestion.insight,
            hint=history.hint
            if note
            else suggestion.hint,  # a fallback learned nothing; the last fit is still the best start
            note=note,
            seconds=self._clock() - started,
            environment=environment,
        )

    async def _ask_in_turn(self, subject: _Subject, history: History, ask: int, count: int) -> Proposal:
        """Ask the process, within the deadline; a process that can't be used again is given up.

        Raises:
            ProposerFailedError: it gave no usable answer.
            SpaceExhaustedError: it says so.
        """
        started = self._clock()
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                answer = await self._ask_child(subject, history, ask, count)
            proposal = _proposal(answer, self._clock() - started)
            _check_points(proposal.points, subject.space, history, count)
            return proposal
        except TimeoutError as error:
            await self._note_failure()
            message = f"the proposer missed its deadline of {self._limits.deadline_s:g} s"
            raise ProposerFailedError(message, is_broken=True) from error
        except ProposerFailedError as error:
            if error.is_broken:
                await self._note_failure()
            raise
        finally:
            await self._adopt_successor()

    async def _ask_child(self, subject: _Subject, history: History, ask: int, count: int) -> Message:
        wait_s = self._not_before - self._clock()
        if wait_s > 0:
            message = f"the proposer failed {self._failures} times in a row and is tried again in {wait_s:.0f} s"
            raise ProposerFailedError(message, is_broken=False)
        child = await self._current_child()
        self._remember(subject)
        request = {**subject.to_data(), "history": history_to_data(history), "ask": ask, "count": count}
        answer = await child.request("suggest", request)
        child.asks += 1
        self._failures = 0
        self._replace_if_worn(child)
        return answer

    async def _current_child(self) -> _Child:
        if self._child is None and self._preparation is not None:
            await asyncio.wait({self._preparation})  # it goes on where the deadline ends this
        await self._adopt_successor()
        if self._child is None:
            self._child = await self._start_child()
        return self._child

    async def _start_child(self) -> _Child:
        try:
            return await _Child.start(self._command, self._log)
        except OSError as error:
            raise ProposerFailedError(f"the proposer process could not be started: {error}", is_broken=True) from error

    def _remember(self, subject: _Subject, kept: int = 2) -> None:
        """Keep the subjects of the last asks: a successor rehearses them."""
        self._subjects.pop(subject, None)
        self._subjects[subject] = None
        while len(self._subjects) > kept:
            del self._subjects[next(iter(self._subjects))]

    async def _note_failure(self) -> None:
        """Give the process up; each failure in a row doubles the time until the next start."""
        self._failures += 1
        self._not_before = self._clock() + min(2.0 ** (self._failures - 1), _LONGEST_BACK_OFF_S)
        await self._drop_child()

    async def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _drop_all(self) -> None:
        await self._adopt_successor()
        await self._drop_child()

    async def _warm(self, subject: _Subject) -> None:
        """Warm the process in use for another study; asks wait for it no longer than for one of their kind."""
        async with self._turn:
            if self._child is None:
                return
            try:
                async with asyncio.timeout(self._limits.deadline_s):
                    await self._child.request("warm", subject.to_data())
            except (TimeoutError, CnnboError) as error:
                logger.warning("the proposer could not be warmed up: %s; see %s", error, self._log)
                await self._note_failure()

    def _replace_if_worn(self, child: _Child) -> None:
        if child.asks >= self._limits.asks or child.rss_mib > self._limits.memory_mib:
            self._prepare()

    def _prepare(self) -> None:
        """Begin to start and warm a process that will take over; the one in use goes on answering."""
        if self._preparation is None:
            self._preparation = self._spawn(self._prepare_successor(), "proposer-successor")

    async def _prepare_successor(self) -> None:
        child: _Child | None = None
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                child = await self._start_child()
                for subject in list(self._subjects):
                    await child.request("warm", subject.to_data())
            self._successor, child = child, None
        except (TimeoutError, CnnboError) as error:
            logger.warning("no proposer process could be prepared: %s; see %s", error, self._log)
        finally:
            self._preparation = None
            if child is not None:
                await child.kill()
        if not self._turn.locked():  # else whoever has the turn does it
            await self._adopt_successor()

    async def _adopt_successor(self) -> None:
        """Put a prepared process in the place of the one in use; only in one's turn or where nobody has it."""
        if self._successor is not None:
            retired, self._child, self._successor = self._child, self._successor, None
            if retired is not None:
                await retired.kill()

    def _spawn(self, work: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = self._group.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _opened(log: Path) -> BinaryIO:
    """The log, open for appending; closed again if the waiter is cancelled before it has it."""
    await asyncio.to_thread(keep_end, log, CHILD_LOG_BYTES)
    opening = asyncio.ensure_future(asyncio.to_thread(log.open, "ab"))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda opened: opened.result().close())
        raise


def _suggest_inline(
    subject: _Subject, history: History, ask: int, count: int
) -> tuple[Suggestion, Mapping[str, object]]:
    optimizer = create_optimizer(subject.optimizer, subject.space, subject.seed)
    return optimizer.suggest(history, ask, count), versions()


def _proposal(answer: Message, seconds: float) -> Proposal:
    """Read an answer.

    Raises:
        ProposerFailedError: it is not what was asked for.
    """
    try:
        insight, environment = answer["insight"], answer["environment"]
        encode_value((insight, environment))  # nested more deeply than the journal can be written
        if not isinstance(insight, dict) or not isinstance(environment, dict):
            raise TypeError("insight and environment are objects")
        return Proposal(
            points=tuple(tuple(float(u) for u in row) for row in answer["points"]),
            source=Source(answer["source"]),
            insight=insight,
            hint=bytes_from_text(answer["hint"]),
            note=None,
            seconds=seconds,
            environment=environment,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProposerFailedError(_NONSENSE, is_broken=True) from error


def _check_points(points: Sequence[Point], space: SearchSpace, history: History, count: int) -> None:
    """See that the study can take these points: an answer that it refuses would leave its ask open for ever.

    Raises:
        ProposerFailedError: they aren't what was promised.
    """
    taken = TakenPoints(space, history.taken)
    try:
        are_canonical = all(space.canonical(point) == point for point in points)
        are_new = len(set(points)) == count == len(points) and not any(point in taken for point in points)
    except (CnnboError, ValueError) as error:  # NaN, or too few coordinates
        raise ProposerFailedError(_NO_POINTS, is_broken=True) from error
    if not (are_canonical and are_new):
        raise ProposerFailedError(_NO_POINTS, is_broken=True)
