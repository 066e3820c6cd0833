"""Runs attempts at trials: their files, their process, the verdict; and what is found of those of an earlier life."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cnnbo.daemon import messages
from cnnbo.daemon.devices.base import Device, DeviceKind
from cnnbo.daemon.energy import EnergyMeter
from cnnbo.daemon.executors.base import Executor, ExitEvidence, Progress
from cnnbo.daemon.launch import attempt_dir, attempt_key, prepare_launch
from cnnbo.daemon.lease import lease_path
from cnnbo.daemon.logfiles import tail
from cnnbo.daemon.verdict import (
    Completed,
    Failed,
    Outcome,
    explained,
    harvest,
    has_opened_test_set,
    judge,
    read_evidence,
    read_result,
)
from cnnbo.scheduler.crashes import crash_kind
from cnnbo.scheduler.events import TrialCompleted, TrialFailed
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure, Trial

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""Reading the devices takes milliseconds; a driver that has lost one may hang for ever."""

_LINES_OF_A_TRACEBACK = 200
"""TensorFlow's are long."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What of the world a shell may use.

    Attributes:
        state: the state folder.
        lease_dir: where device leases lie; None = trials take no lease.
        grace_s: time between SIGTERM and SIGKILL when a trial is stopped, in seconds.
    """

    state: Path
    lease_dir: Path | None
    grace_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt that is to be run."""

    study: Study
    trial: Trial
    attempt: int
    device: Device
    token: str

    @property
    def key(self) -> str:
        """What identifies it in this state folder."""
        return attempt_key(self.study.name, self.trial.id, self.attempt)


@dataclass(slots=True)
class _Suspicion:
    """What the driver reported of the device while an attempt ran there."""

    xids: list[int]
    failure: Failure | None = None  # it ends the attempt, whatever its exit status
    message: str = ""


class Attempts:
    """The attempts that run now.

    Args:
        pins: what of the world may be used.
        executor: runs their processes.
        meter: the devices' energy so far.
        look: reads the devices now; what the driver has to say of a crash is known afterwards.
        is_disk_full: looks whether the disk of the state folder is full.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        pins: Pins,
        executor: Executor,
        meter: EnergyMeter,
        look: Callable[[], Awaitable[None]],
        is_disk_full: Callable[[], Awaitable[bool]],
        now: Callable[[], float],
    ) -> None:
        self._pins = pins
        self._executor = executor
        self._meter = meter
        self._look = look
        self._is_disk_full = is_disk_full
        self._now = now
        self._stops: set[str] = set()  # asked to end; one may still be preparing its files
        self._suspicions: dict[str, _Suspicion] = {}
        self._joules_before: dict[str, tuple[str, float]] = {}  # device, and what it had used when the attempt began
        self._is_stopping = False
        self._running = 0
        self.quiet = asyncio.Event()
        """Set while no attempt runs."""
        self.quiet.set()

    def begin(self, work: Work) -> None:
        """Count one more attempt as running, before its task gets to it."""
        self._running += 1
        self.quiet.clear()
        self._note_joules(work)

    def _note_joules(self, work: Work) -> None:
        if (joules := self._meter.joules(work.device.uuid)) is not None:
            self._joules_before[work.key] = work.device.uuid, joules

    def joules_so_far(self, key: str) -> float | None:
        """What its device has used since an attempt began, in joules; None where that isn't measured."""
        if key not in self._joules_before:
            return None
        uuid, before_j = self._joules_before[key]
        now_j = self._meter.joules(uuid)
        return None if now_j is None else now_j - before_j

    def end(self, key: str) -> None:
        """An attempt's end is journalled; what was asked of it or said of it is of no use any more."""
        self._stops.discard(key)
        self._suspicions.pop(key, None)
        self._joules_before.pop(key, None)
        self._running -= 1
        if not self._running:
            self.quiet.set()

    def stop(self, key: str, grace_s: float) -> None:
        """Ask an attempt to end: time for a checkpoint, then no mercy."""
        self._stops.add(key)
        self._executor.stop(key, grace_s)

    def is_asked_to_end(self, key: str) -> bool:
        """Whether an attempt was asked to end and hasn't yet."""
        return key in self._stops

    def stop_starting(self) -> None:
        """From now on no process is started, not even for attempts that are being prepared."""
        self._is_stopping = True

    def suspect(self, key: str, xid: int) -> None:
        """Keep what the driver reported while an attempt ran, as evidence of its end."""
        self._suspicions.setdefault(key, _Suspicion([])).xids.append(xid)

    def condemn(self, key: str, failure: Failure, message: str) -> None:
        """End an attempt at once because of its device; the first reason counts. A result it left still wins."""
        suspicion = self._suspicions.setdefault(key, _Suspicion([]))
        if suspicion.failure is None:
            suspicion.failure, suspicion.message = failure, message
        self.stop(key, 0.0)

    async def run(
        self, work: Work, on_progress: Callable[[Progress], None]
    ) -> tuple[TrialCompleted | TrialFailed, bool]:
        """Run one attempt to its end; whatever goes wrong with it, or with looking at its device, is in the event.

        Returns:
            how it ended, and whether it could be started at all.
        """
        if work.device.kind is not DeviceKind.CPU:  # a CPU slot has nothing to tell
            await self._look_in_time()
            self._note_joules(work)
        evidence, is_startable = await self._launch(work, on_progress)
        outcome = await self._judged(work, evidence)
        if work.device.kind is not DeviceKind.CPU:
            await self._look_in_time()
        suspicion = self._suspicions.get(work.key, _Suspicion([]))
        if suspicion.failure is not None and isinstance(outcome, Failed) and outcome.failure in _UNDECIDED:
            outcome = replace(outcome, failure=suspicion.failure, message=suspicion.message)
        is_lost = is_startable and evidence.stopped_by not in ("request", "lease")
        is_lost = is_lost or suspicion.failure is Failure.DEVICE_LOST
        event = end_event(self._now(), work.trial.id, work.attempt, outcome, evidence, is_lost)
        facts = {**event.evidence, "xids": suspicion.xids} if suspicion.xids else event.evidence
        directory = attempt_dir(self._pins.state, work.study.name, work.trial.id, work.attempt)
        is_opened = await asyncio.to_thread(has_opened_test_set, directory)
        energy_j = self.joules_so_far(work.key)
        return replace(event, evidence=facts, energy_j=energy_j, opened_test_set=is_opened), is_startable

    async def _look_in_time(self) -> None:
        """Look at the devices, unless their driver hangs: then the others, and what is done, must not wait for it."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._look()
        except TimeoutError:
            log.warning("the devices could not be read within %g s.", LOOK_S)
        except Exception:
            log.exception("the devices could not be read")

    async def _judged(self, work: Work, evidence: ExitEvidence) -> Outcome:
        study, trial = work.study, work.trial
        directory = attempt_dir(self._pins.state, study.name, trial.id, work.attempt)
        result = await asyncio.to_thread(read_result, directory)
        outcome = judge(evidence, result, study.spec.report.pattern is not None)
        if isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED and result is None:
            lines = await asyncio.to_thread(
                tail, self._pins.state, study.name, trial.id, work.attempt, _LINES_OF_A_TRACEBACK
            )
            outcome = explained(outcome, lines)
        if isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED and await self._is_disk_full():
            # Whoever can't write a result, or a line, is not a bad configuration.
            message = f"The disk was full when the trial ended; it runs again once there is space. {outcome.message}"
            outcome = replace(outcome, failure=Failure.INTERRUPTED, message=message)
        return outcome

    async def _launch(self, work: Work, on_progress: Callable[[Progress], None]) -> tuple[ExitEvidence, bool]:
        """Write the attempt's files and run it to its end; says, too, whether it could be started."""
        lease = None if self._pins.lease_dir is None else lease_path(self._pins.lease_dir, work.device.uuid)
        try:
            launch = await asyncio.to_thread(
                prepare_launch, work.study, work.trial, work.attempt, work.device, work.token, self._pins.state, lease
            )
            if self._is_stopping or launch.key in self._stops:
                return ExitEvidence(stopped_by="request"), True
            evidence = await self._executor.run(launch, on_progress)
            return evidence, evidence.stopped_by != "lease"  # somebody holds the device: it rests until that is seen
        # No file, no process: the machine's fault or ours, which says nothing about the configuration.
        except OSError as error:
            reason = f"The trial could not be started: {error.strerror or error}."
            log.warning("trial %d of study %s: %s", work.trial.id, work.study.name, reason)
            return ExitEvidence(stopped_by="runner", message=reason), False
        except Exception as error:
            log.exception("trial %d of study %s could not be started", work.trial.id, work.study.name)
            return ExitEvidence(stopped_by="runner", message=f"The trial could not be started: {error}."), False


_UNDECIDED = (Failure.CRASHED, Failure.INTERRUPTED)
"""Ends that the device may be to blame for; a timeout, or memory that ran out, has its own evidence."""


def end_event(
    at: float, trial: int, attempt: int, outcome: Outcome, evidence: ExitEvidence, is_lost: bool
) -> TrialCompleted | TrialFailed:
    """The event that tells how an attempt ended."""
    facts = {key: value for key, value in asdict(evidence).items() if value is not None and messages.is_json(value)}
    if isinstance(outcome, Completed):
        value, metrics = outcome.value, outcome.metrics
        return TrialCompleted(at, trial, attempt, value, metrics, facts, resumed=outcome.resumed, chance=outcome.chance)
    failure = Failure(outcome.failure)
    message, metrics, resumed = outcome.message, outcome.metrics, outcome.resumed
    kind = crash_kind(message) if failure is Failure.CRASHED else None
    return TrialFailed(at, trial, attempt, failure, message, metrics, facts, is_lost, resumed=resumed, kind=kind)


def found(study: Study, trial: Trial, state: Path, now: float) -> TrialCompleted | TrialFailed:
    """What became of an attempt whose daemon died: its result if it left one, else it was interrupted."""
    attempt = trial.attempts[-1]
    directory = attempt_dir(state, study.name, trial.id, attempt.n)
    ended_at = max(attempt.started, min(now, _last_change(directory, attempt.started)))
    outcome = harvest(directory, study.spec.report.pattern is not None)
    evidence = read_evidence(directory) or ExitEvidence()
    is_lost = evidence.stopped_by != "request"  # an orderly stop or a pause may have been cut short
    event: TrialCompleted | TrialFailed
    if outcome is None:
        message = "The daemon died while it ran."
        event = TrialFailed(ended_at, trial.id, attempt.n, Failure.INTERRUPTED, message, is_lost=is_lost)
    else:
        event = end_event(ended_at, trial.id, attempt.n, outcome, evidence, is_lost)
    return replace(event, opened_test_set=has_opened_test_set(directory))


def _last_change(directory: Path, default: float) -> float:
    """When the newest file of an attempt was written, in seconds since the epoch."""
    try:
        return max((path.stat().st_mtime for path in directory.iterdir()), default=default)
    except OSError:
        return default
