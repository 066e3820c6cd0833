"""Carries out what the studies decide: one inbox of events, one coroutine that takes them in.

For each event: `check`, commit to the journal, `handle`, carry out the commands, then share out idle devices. Everybody
else (control requests, running attempts, the proposer, the device reader) puts events in the inbox; there are no locks.
"""

import asyncio
import logging
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cnnbo.daemon import messages
from cnnbo.daemon.devices.base import Device, Sample
from cnnbo.daemon.executors.base import Executor, ExitEvidence, Progress
from cnnbo.daemon.journal import Journal, JournalFullError, StoredStudy
from cnnbo.daemon.launch import attempt_dir, prepare_launch, study_dir
from cnnbo.daemon.lease import lease_path
from cnnbo.daemon.logfiles import last_words
from cnnbo.daemon.news import news
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.sinks.base import Delivery, Message, Sink
from cnnbo.daemon.verdict import Completed, Failed, Outcome, harvest, judge, read_evidence, read_result
from cnnbo.scheduler.allocator import RequestTrials, StartTrial, allocate
from cnnbo.scheduler.budget import exceeded_limit
from cnnbo.scheduler.errors import CnnboError, InvalidTransitionError, RequestError, SpaceExhaustedError
from cnnbo.scheduler.events import (
    AskDropped,
    AskOptimizer,
    BudgetReached,
    Command,
    Event,
    PointsSuggested,
    StopTrial,
    StudyCreated,
    StudyPaused,
    TimeSpent,
    TrialCompleted,
    TrialFailed,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure, Trial

log = logging.getLogger(__name__)

FULL_DISK_RETRY_S = 5.0
REST_S = 30.0
"""After a trial could not be started, its device gets none for so long, in seconds."""

TICK_S = 10.0
"""How often time is booked on wall-clock budgets, in seconds."""


@dataclass(slots=True)
class Entry:
    """A study with the journal's key for it; the study is replaced by its successor at each event."""

    key: int
    study: Study


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


_Item = tuple[str, Event, asyncio.Future[None] | None] | None
"""An event of a study with whoever waits for it; None: only look whether idle devices can be shared out."""


class Shell:
    """The daemon's heart: studies, devices, and what runs where.

    All methods but `run` are called from the event loop and return at once, or are awaited.
    """

    def __init__(
        self,
        pins: Pins,
        journal: Journal,
        executor: Executor,
        proposer: Proposer,
        sinks: Iterable[Sink],
        now: Callable[[], float],
    ) -> None:
        self._pins = pins
        self._journal = journal
        self._executor = executor
        self._proposer = proposer
        self._sinks = list(sinks)
        self._now = now
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue()
        self._entries: dict[str, Entry] = {}
        self._devices: dict[str, Device] = {}
        self._samples: Mapping[str, Sample] = {}
        self._unusable: dict[str, tuple[str, str]] = {}  # uuid -> state and reason
        self._since: dict[str, tuple[str, float]] = {}  # uuid -> state and when it was first seen in it
        self._shown: dict[str, dict[str, object]] = {}
        self._attempts: asyncio.TaskGroup | None = None
        self._is_stopping = False
        self._stops: set[str] = set()  # attempts asked to end; one may still be preparing its files
        self._resting: dict[str, float] = {}  # device -> until when it gets no trial, after one could not be started
        self._woken = asyncio.Event()
        self.quiet = asyncio.Event()  # set while no attempt runs
        self.quiet.set()
        self._running_attempts = 0

    # -- what is known ------------------------------------------------------------------------------------------------

    @property
    def studies(self) -> tuple[Study, ...]:
        """All studies, oldest first."""
        return tuple(entry.study for entry in self._entries.values())

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices trials may run on."""
        return tuple(self._devices.values())

    def study(self, name: str) -> Study:
        """The study of that name.

        Raises:
            RequestError: there is none; the ones there are, are named.
        """
        if name in self._entries:
            return self._entries[name].study
        known = ", ".join(self._entries) or "none"
        raise RequestError(f"there is no study {name!r} here; the studies are: {known}.")

    @property
    def busy_devices(self) -> frozenset[str]:
        """UUIDs of devices with a trial of ours."""
        return frozenset(self._occupants)

    @property
    def _occupants(self) -> dict[str, tuple[str, int]]:
        """Which trial is on which device."""
        return {trial.attempts[-1].device: (study.name, trial.id) for study in self.studies for trial in study.running}

    def device_objects(self) -> list[dict[str, object]]:
        """Every device as `devices --json` shows it."""
        occupants = self._occupants
        return [self._device_object(device, occupants.get(device.uuid)) for device in self._devices.values()]

    def _device_object(self, device: Device, occupant: tuple[str, int] | None) -> dict[str, object]:
        state, reason = self._device_state(device, occupant)
        _, since = self._since.get(device.uuid, (state, None))
        return messages.device_object(device, self._samples.get(device.uuid, Sample()), state, reason, occupant, since)

    def _device_state(self, device: Device, occupant: tuple[str, int] | None) -> tuple[str, str | None]:
        state, reason = self._unusable.get(device.uuid, ("idle", None))
        # Beside a trial of ours a stranger is told of, and nothing more starts there.
        return ("busy", reason) if occupant and state in ("idle", "foreign") else (state, reason)

    def _note_states(self) -> None:
        """Remember since when each device is in its state."""
        occupants = self._occupants
        for uuid, device in self._devices.items():
            state, _ = self._device_state(device, occupants.get(uuid))
            if uuid not in self._since or self._since[uuid][0] != state:
                self._since[uuid] = state, self._now()

    # -- the inbox ----------------------------------------------------------------------------------------------------

    def post(self, study: str, event: Event) -> None:
        """Put an event in the inbox."""
        self._inbox.put_nowait((study, event, None))

    async def submit(self, study: str, event: Event) -> None:
        """Put an event in the inbox and wait until it is journalled and handled.

        Raises:
            RequestError: the event can't happen now.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait((study, event, done))
        await done

    async def run(self, stored: Iterable[StoredStudy]) -> None:
        """Reconcile with the world, then take in events until cancelled."""
        for known in stored:
            self._entries[known.study.name] = Entry(known.key, known.study)
        async with asyncio.TaskGroup() as attempts:
            self._attempts = attempts
            await self._reconcile()
            self.publish_all()
            for study in self.studies:
                if study.state is StudyState.RUNNING:
                    self._begin(study)
            await self._share_out()
            while True:
                await self._take_next()

    async def _take_next(self) -> None:
        item = await self._inbox.get()
        if item is None:
            await self._share_out()
            return
        name, event, done = item
        try:
            await self._apply(name, event)
            await self._share_out()
        except CnnboError as error:
            if done is not None and not done.cancelled():
                done.set_exception(error)
            else:
                # A late word: the answer to an ask that was dropped, or the end of an attempt that was given up.
                log.info("dropped: %s", error)
            return
        if done is not None and not done.cancelled():
            done.set_result(None)

    async def _apply(self, name: str, event: Event) -> None:
        """Check, journal, handle, tell, carry out."""
        if isinstance(event, StudyCreated):
            await self._create(event)
            return
        if name not in self._entries:
            raise RequestError(f"study {name} was deleted.")
        entry = self._entries[name]
        before = entry.study
        before.check(event)
        # `handle` runs on a copy, so that the rows that follow from the event are in its transaction.
        after = before.copy()
        commands = after.handle(event)
        await self._journalled(lambda: self._journal.append(entry.key, event, before, after))
        entry.study = after
        if before.state is not StudyState.RUNNING and after.state is StudyState.RUNNING:
            self._begin(after)
        self._tell(before, after, event)
        for command in commands:
            self._carry_out(after, command)

    async def _create(self, event: StudyCreated) -> None:
        study = Study(event.spec, at=event.at)
        if study.name in self._entries:
            raise RequestError(f"study {study.name} exists already.")
        await asyncio.to_thread(_set_aside, study_dir(self._pins.state, study.name), event.at)
        key = await self._journal.create(event, study)
        self._entries[study.name] = Entry(key, study)
        self._begin(study)
        self._publish(messages.event_message("study_created", {"study": study.name}))
        for message in messages.retained(study, study.trials, event.at):
            self._publish(message)

    def _begin(self, study: Study) -> None:
        """A study starts to run: load what proposes its points, and look at the devices anew."""
        self._proposer.warm(study.spec.optimizer, study.spec.space, study.spec.seed)
        self._woken.set()

    async def _journalled(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write, and on a full disk wait for space: an event that happened is never dropped."""
        while True:
            try:
                return await write()
            except JournalFullError as error:
                log.error("%s", error)
                await asyncio.sleep(FULL_DISK_RETRY_S)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _carry_out(self, study: Study, command: Command) -> None:
        assert self._attempts is not None
        match command:
            case AskOptimizer():
                self._attempts.create_task(self._propose(study, command), name=f"ask {study.name}")
            case StopTrial():
                self._stop_attempt(f"{study.name}/{command.trial}/{command.attempt}", self._pins.grace_s)

    def _stop_attempt(self, key: str, grace_s: float) -> None:
        self._stops.add(key)
        self._executor.stop(key, grace_s)

    async def _propose(self, study: Study, command: AskOptimizer) -> None:
        """Ask the proposer; whatever happens, the ask is answered."""
        basis = study.basis()
        spec = study.spec
        entry = self._entries[study.name]
        try:
            proposal = await self._proposer.suggest(
                spec.name, spec.optimizer, spec.space, spec.seed, study.history(), command.ask, command.count
            )
        except SpaceExhaustedError:
            self.post(study.name, AskDropped(self._now(), command.ask, space_exhausted=True))
            return
        except Exception:
            log.exception("a bug in cnnbo: no point could be proposed; study %s is paused.", study.name)
            self.post(study.name, AskDropped(self._now(), command.ask))
            self.post(study.name, StudyPaused(self._now()))
            return
        if self._entries.get(study.name) is not entry:
            return  # the study was deleted meanwhile; its name may belong to another one now
        if proposal.note:
            log.warning("%s: took a Sobol point: %s", study.name, proposal.note)
        self.post(
            study.name,
            PointsSuggested(
                at=self._now(),
                ask=command.ask,
                points=proposal.points,
                source=Source(proposal.source),
                **asdict(basis),
                note=proposal.note,
                insight=proposal.insight,
                hint_in=study.hint,
                hint=proposal.hint,
                seconds=proposal.seconds,
                environment=proposal.environment,
            ),
        )

    # -- devices ------------------------------------------------------------------------------------------------------

    def take_devices(self, devices: Iterable[Device]) -> None:
        """Learn which devices there are."""
        self._devices = {device.uuid: device for device in devices}

    def take_samples(self, samples: Mapping[str, Sample], held: Mapping[str, str]) -> None:
        """Learn how the devices are, and share out those that became idle.

        Args:
            samples: a reading of each device.
            held: devices that somebody else uses, with whom.
        """
        self._samples = samples
        faults = {uuid: ("quarantined", sample.fault) for uuid, sample in samples.items() if sample.fault}
        self._unusable = {uuid: ("foreign", reason) for uuid, reason in held.items()} | faults
        self._publish_devices()
        self._inbox.put_nowait(None)

    async def woken(self, at_most_s: float) -> None:
        """Wait until a study begins or goes on, at most so many seconds: devices are read again then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()
        self._woken.clear()

    def _idle(self) -> list[str]:
        occupants = self._occupants
        now = self._now()
        resting = {uuid for uuid, until in self._resting.items() if now < until}
        return [uuid for uuid in self._devices if uuid not in {*occupants, *self._unusable, *resting}]

    async def _share_out(self) -> None:
        """Put trials on idle devices until nothing more fits."""
        while not self._is_stopping and not self._journal.is_full:
            allocations = allocate(self._idle(), self.studies)
            if not allocations:
                return
            for allocation in allocations:
                if self._is_stopping:
                    return
                limit = exceeded_limit(self.study(allocation.study), self._now())
                if limit is not None:
                    await self._apply(allocation.study, BudgetReached(self._now(), limit))
                    break
                if isinstance(allocation, RequestTrials):
                    await self._apply(allocation.study, TrialsRequested(self._now(), allocation.count))
                else:
                    await self._start(allocation)

    async def _start(self, allocation: StartTrial) -> None:
        """Journal the intent, then start the process."""
        trial = self.study(allocation.study).trial(allocation.trial)
        attempt = len(trial.attempts) + 1
        token = secrets.token_hex(16)
        started = TrialStarted(self._now(), trial.id, attempt, allocation.device, token)
        await self._apply(allocation.study, started)
        assert self._attempts is not None
        self._running_attempts += 1
        self.quiet.clear()
        work = self._run_attempt(self.study(allocation.study), trial, attempt, self._devices[allocation.device], token)
        self._attempts.create_task(work, name=f"attempt {allocation.study}/{trial.id}/{attempt}")

    async def _run_attempt(self, study: Study, trial: Trial, attempt: int, device: Device, token: str) -> None:
        """Run one attempt and post how it ended; never raises into the group."""

        def on_progress(progress: Progress) -> None:
            body = messages.progress_object(trial.id, device.uuid, progress)
            topic = f"study/{study.name}/trial/{trial.id}/progress"
            self._publish(Message(topic, body, messages.PROGRESS_SCHEMA, Delivery.PROGRESS))

        evidence = await self._launch(study, trial, attempt, device, token, on_progress)
        directory = attempt_dir(self._pins.state, study.name, trial.id, attempt)
        result = await asyncio.to_thread(read_result, directory)
        outcome = judge(evidence, result, study.spec.report.pattern is not None)
        if isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED and result is None:
            # The error itself tells equal crashes from different ones, and people what to mend.
            words = await asyncio.to_thread(last_words, self._pins.state, study.name, trial.id, attempt)
            outcome = replace(outcome, message=f"{outcome.message.rstrip('.')}: {words}" if words else outcome.message)
        is_lost = evidence.stopped_by not in ("request", "lease") and device.uuid not in self._resting
        self._stops.discard(f"{study.name}/{trial.id}/{attempt}")
        try:
            await self.submit(study.name, _end_event(self._now(), trial.id, attempt, outcome, evidence, is_lost))
        except (RequestError, InvalidTransitionError) as error:
            log.info("dropped: %s", error)
        finally:
            self._running_attempts -= 1
            if not self._running_attempts:
                self.quiet.set()

    async def _launch(
        self,
        study: Study,
        trial: Trial,
        attempt: int,
        device: Device,
        token: str,
        on_progress: Callable[[Progress], None],
    ) -> ExitEvidence:
        """Write the attempt's files and run it to its end."""
        lease = None if self._pins.lease_dir is None else lease_path(self._pins.lease_dir, device.uuid)
        try:
            launch = await asyncio.to_thread(
                prepare_launch, study, trial, attempt, device, token, self._pins.state, lease
            )
            if self._is_stopping or launch.key in self._stops:
                return ExitEvidence(stopped_by="request")
            self._resting.pop(device.uuid, None)
            return await self._executor.run(launch, on_progress)
        except Exception as error:
            # No file, no process: the machine's fault or ours, which says nothing about the configuration.
            log.exception("trial %d of study %s could not be started", trial.id, study.name)
            self._resting[device.uuid] = self._now() + REST_S
            return ExitEvidence(stopped_by="runner", message=f"The trial could not be started: {error}.")

    # -- starting and stopping ----------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """After a replay: end what an earlier life left running, with what is found of it."""
        running = [(study, trial) for study in self.studies for trial in study.running]
        orphans = await asyncio.to_thread(self._executor.sweep, [trial.attempts[-1].token for _, trial in running])
        if orphans:
            log.warning("ended %d processes of an earlier life.", orphans)
        for study, trial in running:
            await self._apply(study.name, await asyncio.to_thread(self._found, study, trial))
        for study in self.studies:
            for ask in study.outstanding_asks:
                await self._apply(study.name, AskDropped(self._now(), ask))

    def _found(self, study: Study, trial: Trial) -> Event:
        """What became of an attempt whose daemon died: its result if it left one, else it was interrupted."""
        attempt = trial.attempts[-1]
        directory = attempt_dir(self._pins.state, study.name, trial.id, attempt.n)
        ended_at = max(attempt.started, min(self._now(), _last_change(directory, attempt.started)))
        outcome = harvest(directory, study.spec.report.pattern is not None)
        evidence = read_evidence(directory) or ExitEvidence()
        is_lost = evidence.stopped_by != "request"  # an orderly stop or a pause may have been cut short
        if outcome is None:
            message = "The daemon died while it ran."
            return TrialFailed(ended_at, trial.id, attempt.n, Failure.INTERRUPTED, message, is_lost=is_lost)
        return _end_event(ended_at, trial.id, attempt.n, outcome, evidence, is_lost)

    async def stop(self, grace_s: float) -> None:
        """Start nothing more and end all attempts; returns when the last one's end is journalled.

        A second call with a shorter grace hastens it.
        """
        self._is_stopping = True
        for study in self.studies:
            for trial in study.running:
                self._stop_attempt(f"{study.name}/{trial.id}/{len(trial.attempts)}", grace_s)
        await self.quiet.wait()

    async def delete(self, name: str) -> None:
        """Free the name of an ended study and remove its files.

        Raises:
            RequestError: there is no such study, or it hasn't ended.
        """
        study = self.study(name)
        if study.state.is_ended and study.running:
            raise RequestError(
                f"study {name}: {len(study.running)} trials are still being stopped; try again in a minute."
            )
        if not study.state.is_ended:
            raise RequestError(f"study {name} is {study.state}; end it first: cnnbo cancel {name}")
        await self._journal.delete(self._entries[name].key, self._now())
        del self._entries[name]
        await asyncio.to_thread(shutil.rmtree, study_dir(self._pins.state, name), ignore_errors=True)
        for message in messages.cleared(study):
            self._publish(message)
        self._publish(messages.event_message("study_deleted", {"study": name}))

    async def book_time(self) -> None:
        """Book the time that studies with a wall-clock budget are running, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_S)
            for study in self.studies:
                if study.state == "running" and study.spec.budget.wall_clock_s is not None:
                    self.post(study.name, TimeSpent(self._now(), loop.time() - before))

    # -- news ---------------------------------------------------------------------------------------------------------

    def add_sink(self, sink: Sink) -> None:
        """Tell the news to one more sink, beginning with all that is retained."""
        self._sinks.append(sink)
        self.publish_all()

    def _publish(self, message: Message) -> None:
        for sink in self._sinks:
            sink.publish(message)

    def publish_all(self) -> None:
        """Tell all that is retained."""
        now = self._now()
        for study in self.studies:
            if not study.is_archived:
                for message in messages.retained(study, study.trials, now):
                    self._publish(message)
        self._shown.clear()
        self._publish_devices()

    def _publish_devices(self) -> None:
        self._note_states()
        for body in self.device_objects():
            uuid = str(body["uuid"])
            if self._shown.get(uuid) != body:
                self._shown[uuid] = body
                self._publish(Message(f"device/{uuid}", body, messages.DEVICE_SCHEMA, Delivery.STATE))

    def _tell(self, before: Study, after: Study, event: Event) -> None:
        """Tell what an event changed."""
        for message in news(before, after, event):
            self._publish(message)
        self._publish_devices()


def _set_aside(directory: Path, at: float) -> None:
    """Files of a study that the journal doesn't know must not be taken for results of a new one, nor be lost."""
    if directory.exists():
        directory.rename(directory.with_name(f"{directory.name}~{at:.0f}"))


def _end_event(at: float, trial: int, attempt: int, outcome: Outcome, evidence: ExitEvidence, is_lost: bool) -> Event:
    facts = {key: value for key, value in asdict(evidence).items() if value is not None and messages.is_json(value)}
    if isinstance(outcome, Completed):
        return TrialCompleted(at, trial, attempt, outcome.value, outcome.metrics, facts, resumed=outcome.resumed)
    failure = Failure(outcome.failure)
    message, metrics, resumed = outcome.message, outcome.metrics, outcome.resumed
    return TrialFailed(at, trial, attempt, failure, message, metrics, facts, is_lost, resumed=resumed)


def _last_change(directory: Path, default: float) -> float:
    """When the newest file of an attempt was written, in seconds since the epoch."""
    try:
        return max((path.stat().st_mtime for path in directory.iterdir()), default=default)
    except OSError:
        return default
