"""Carries out what the studies decide: one inbox of events, one coroutine that takes them in.

For each event: `check`, commit to the journal, `handle`, carry out the commands, then share out idle devices. Everybody
else (control requests, running attempts, the proposer, the device reader) puts events in the inbox; there are no locks.
"""

import asyncio
import functools
import logging
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbo.daemon import messages
from cnnbo.daemon.attempts import Attempts, Pins, Work, found
from cnnbo.daemon.board import DeviceBoard, Occupant
from cnnbo.daemon.devices.base import Device, HealthEvent, HealthKind, Sample
from cnnbo.daemon.devices.xid import CLEAN_UP_XID
from cnnbo.daemon.energy import EnergyMeter
from cnnbo.daemon.executors.base import Executor, Phase, Progress
from cnnbo.daemon.journal import Journal, JournalFullError, Receipt, StoredStudy
from cnnbo.daemon.launch import attempt_key, study_dir
from cnnbo.daemon.news import device_news, news
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.sinks.base import Delivery, Message, Sink
from cnnbo.scheduler.allocator import RequestTrials, StartTrial, allocate
from cnnbo.scheduler.budget import exceeded_limit
from cnnbo.scheduler.comparison import Members, due
from cnnbo.scheduler.errors import CnnboError, InvalidTransitionError, RequestError, SpaceExhaustedError
from cnnbo.scheduler.events import (
    AskDropped,
    AskOptimizer,
    BudgetReached,
    Command,
    DeviceDrained,
    DeviceEvent,
    DeviceQuarantined,
    DeviceReturned,
    DevicesLimited,
    Event,
    PointsSuggested,
    StopTrial,
    StudyCreated,
    StudyPaused,
    TimeSpent,
    TrialsRequested,
    TrialStarted,
)
from cnnbo.scheduler.fleet import Fleet, Moment, Reading
from cnnbo.scheduler.occupancy import Stranger
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.sharing import Sharing
from cnnbo.scheduler.study import Study, StudyState
from cnnbo.scheduler.trial import Failure

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import DeviceObject

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
class _Posted:
    """What lies in the inbox: an event of a study or of a device, and whoever waits until it is handled.

    Without an event it is only looked whether idle devices can be shared out. The receipt of a request is journalled
    with the event.
    """

    event: Event | DeviceEvent | None = None
    study: str = ""
    done: asyncio.Future[None] | None = None
    receipt: Receipt | None = None


def _first_phase(study: Study) -> Phase:
    """A model of ours says when it begins to train; what a script does before it says a word, nobody knows."""
    return "training" if study.spec.model is None else "starting"


def _answer(posted: _Posted, refusal: CnnboError | None) -> None:
    """Tell whoever waits for an event what became of it."""
    if posted.done is None or posted.done.cancelled():
        if refusal is not None:
            # A late word: the answer to an ask that was dropped, or the end of an attempt that was given up.
            log.info("dropped: %s", refusal)
    elif refusal is not None:
        posted.done.set_exception(refusal)
    else:
        posted.done.set_result(None)


async def _nothing_to_look_at() -> None:
    """For devices that exist on paper only."""


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
        fleet: Fleet | None = None,
        look: Callable[[], Awaitable[None]] = _nothing_to_look_at,
        info: Callable[[], Message] | None = None,
    ) -> None:
        """A shell over a journal that is open.

        Args:
            pins: what of the world may be used.
            journal: where events go before they are acted on.
            executor: runs the trials.
            proposer: makes the proposals.
            sinks: who is told the news.
            now: seconds since the epoch.
            fleet: what is known of the devices from earlier lives, and how they are shared.
            look: reads the devices now, and calls `take_samples`.
            info: what is told of the daemon itself; None while nobody needs it.
        """
        self._pins = pins
        self._journal = journal
        self._executor = executor
        self._proposer = proposer
        self._sinks = list(sinks)
        self._now = now
        self._fleet = Fleet() if fleet is None else fleet
        self._board = DeviceBoard(self._fleet, self._moment)
        self._meter = EnergyMeter()
        self._look = look
        self._info = info
        self._attempts = Attempts(pins, executor, self._meter, self._look_and_settle, self._is_disk_full, now)
        self._inbox: asyncio.Queue[_Posted] = asyncio.Queue()
        self._entries: dict[str, Entry] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._is_stopping = False
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()

    # -- what is known ------------------------------------------------------------------------------------------------

    @property
    def studies(self) -> tuple[Study, ...]:
        """All studies, oldest first."""
        return tuple(entry.study for entry in self._entries.values())

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices trials may run on."""
        return tuple(self._board.devices.values())

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
    def state_folder(self) -> Path:
        """Where the files of the trials are."""
        return self._pins.state

    @property
    def busy_devices(self) -> frozenset[str]:
        """UUIDs of devices with a trial of ours."""
        return frozenset(self._occupants)

    @property
    def _occupants(self) -> dict[str, Occupant]:
        """Which trial is on which device."""
        return {
            trial.attempts[-1].device: Occupant(study.name, trial.id, _first_phase(study))
            for study in self.studies
            for trial in study.running
        }

    @property
    def running_trials(self) -> int:
        """How many trials run."""
        return sum(len(study.running) for study in self.studies)

    @property
    def limit(self) -> int | None:
        """At most so many devices are used at a time, as somebody said last (`limit`); None = all of them."""
        return self._fleet.limit

    def device_objects(self) -> list["DeviceObject"]:
        """Every device as `devices --json` shows it."""
        return self._board.objects(self._occupants)

    def is_energy_measured(self) -> bool:
        """Whether every device tells what it uses."""
        return all(self._meter.is_measured(device.uuid) for device in self.devices)

    def _moment(self) -> Moment:
        at = self._now()
        local = time.localtime(at)
        return Moment(at, local.tm_hour * 60 + local.tm_min)

    def _note_disk(self) -> None:
        self._fleet.halt(self._journal.full_reason if self._journal.is_full else None)

    async def _is_disk_full(self) -> bool:
        await self._journal.look_at_disk()
        return self._journal.is_full

    # -- the inbox ----------------------------------------------------------------------------------------------------

    def post(self, study: str, event: Event) -> None:
        """Put an event in the inbox."""
        self._inbox.put_nowait(_Posted(event, study))

    async def submit(self, study: str, event: Event, receipt: Receipt | None = None) -> None:
        """Put an event in the inbox and wait until it is journalled, with the receipt of its request, and handled.

        Raises:
            RequestError: the event can't happen now.
        """
        await self._submit(event, study, receipt)

    async def submit_device(
        self, event: DeviceDrained | DeviceReturned | DevicesLimited, receipt: Receipt | None = None
    ) -> None:
        """Put an order about a device, or all of them, in the inbox and wait until it is journalled and handled.

        Raises:
            RequestError: the order can't be carried out now.
        """
        await self._submit(event, receipt=receipt)

    async def keep(self, receipt: Receipt) -> None:
        """Journal the receipt of a request that led to no event."""
        await self._journalled(lambda: self._journal.keep(receipt))

    async def settled(self) -> None:
        """Wait until what an earlier life left is dealt with, and what lies in the inbox now is handled."""
        await self._submit(None)

    async def prove_moving(self) -> None:
        """Return once something was taken out of the inbox; that it waits for space on a full disk is no standstill."""
        self._moved.clear()
        if self._inbox.empty():
            self._inbox.put_nowait(_Posted())
        await self._moved.wait()

    async def _look_and_settle(self) -> None:
        """Read the devices, and wait until what follows from that is handled."""
        await self._look()
        await self._submit(None)

    async def _submit(self, event: Event | DeviceEvent | None, study: str = "", receipt: Receipt | None = None) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Posted(event, study, done, receipt))
        await done

    async def run(self, stored: Iterable[StoredStudy]) -> None:
        """Reconcile with the world, then take in events until cancelled."""
        for known in stored:
            self._entries[known.study.name] = Entry(known.key, known.study)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await self._reconcile()
            for comparison in {study.spec.part.plan.name for study in self.studies if study.spec.part is not None}:
                await self._go_on_comparing(
                    comparison, is_paused=False
                )  # the daemon may have died between an end and what followed
            self.publish_all()
            for study in self.studies:
                if study.state is StudyState.RUNNING:
                    self._begin(study)
            await self._share_out()
            while True:
                await self._take_next()

    async def _take_next(self) -> None:
        posted = await self._inbox.get()
        refusal = None
        try:
            await self._take_in(posted)
        except CnnboError as error:
            refusal = error
        try:
            await self._share_out()
        except CnnboError as error:
            log.warning("idle devices could not be shared out: %s", error)
        _answer(posted, refusal)
        await self._save_activities()
        self._moved.set()

    async def _take_in(self, posted: _Posted) -> None:
        match posted.event:
            case None:
                pass
            case DeviceDrained() | DeviceReturned() | DeviceQuarantined() | DevicesLimited():
                await self._apply_to_device(posted.event, posted.receipt)
            case event:
                await self._apply(posted.study, event, posted.receipt)

    async def _apply(self, name: str, event: Event, receipt: Receipt | None = None) -> None:
        """Check, journal, handle, tell, carry out."""
        if isinstance(event, StudyCreated):
            await self._create(event, receipt)
            return
        if name not in self._entries:
            raise RequestError(f"study {name} was deleted.")
        entry = self._entries[name]
        before = entry.study
        before.check(event)
        # `handle` runs on a copy, so that the rows that follow from the event are in its transaction.
        after = before.copy()
        commands = after.handle(event)
        told = news(before, after, event)
        await self._journalled(lambda: self._journal.append(entry.key, event, before, after, told, receipt))
        entry.study = after
        if before.state is not StudyState.RUNNING and after.state is StudyState.RUNNING:
            self._begin(after)
        self._tell(told)
        for command in commands:
            self._carry_out(after, command)
        if after.state.is_ended and after.spec.part is not None:
            await self._go_on_comparing(after.spec.part.plan.name, is_paused=before.state is StudyState.PAUSED)

    async def _go_on_comparing(self, comparison: str, is_paused: bool) -> None:
        """Create the studies that are due in a comparison.

        Args:
            comparison: its name.
            is_paused: whether they are to wait until somebody resumes them, as what went before them did.
        """
        try:
            for spec in due(Members.of(self.studies, comparison)):
                created = StudyCreated(self._now(), spec)
                await self._journalled(functools.partial(self._create, created, None))
                if is_paused:
                    await self._apply(spec.name, StudyPaused(self._now()))
        except CnnboError as error:  # it must not take the other studies with it
            log.error("comparison %s can't go on: %s", comparison, error)

    async def _create(self, event: StudyCreated, receipt: Receipt | None) -> None:
        study = Study(event.spec, at=event.at)
        if study.name in self._entries:
            raise RequestError(f"study {study.name} exists already.")
        await asyncio.to_thread(_set_aside, study_dir(self._pins.state, study.name), event.at)
        created = messages.event_message({"event": "study_created", "study": study.name, "reason": None})
        told = [created, *messages.retained(study, study.trials, event.at)]
        key = await self._journal.create(event, study, told, receipt)
        self._entries[study.name] = Entry(key, study)
        self._begin(study)
        self._tell(told)

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
                self._moved.set()
                await asyncio.sleep(FULL_DISK_RETRY_S)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _carry_out(self, study: Study, command: Command) -> None:
        assert self._tasks is not None
        match command:
            case AskOptimizer():
                self._tasks.create_task(self._propose(study, command), name=f"ask {study.name}")
            case StopTrial():
                self._attempts.stop(attempt_key(study.name, command.trial, command.attempt), self._pins.grace_s)

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
        """Learn which devices there are; one with a trial on it stays known until that has ended."""
        found = {device.uuid: device for device in devices}
        kept = {uuid: device for uuid, device in self._board.devices.items() if uuid in self._occupants}
        for message in self._board.take_devices(sorted((kept | found).values(), key=lambda device: device.index)):
            self._publish(message)

    def take_samples(self, samples: Mapping[str, Sample], held: Mapping[str, Stranger]) -> None:
        """Learn how the devices are, and share out those that became idle.

        Args:
            samples: a reading of each device.
            held: devices that somebody else uses, with whom.
        """
        self._note_disk()
        self._board.take_samples(samples)
        self._meter.take(time.monotonic(), samples)
        readings = {
            uuid: Reading(sample.fault, sample.is_broken, held.get(uuid), sample.slowdown)
            for uuid, sample in samples.items()
        }
        for event in self._fleet.take(self._now(), readings):
            self._inbox.put_nowait(_Posted(event))
        self._yield_devices()
        self._publish_devices()
        self._inbox.put_nowait(_Posted())

    def take_health(self, event: HealthEvent) -> None:
        """Learn what a driver reported by itself."""
        log.warning("%s: %s", ", ".join(event.uuids), event.reason)
        for uuid in event.uuids:
            if event.kind is HealthKind.HARDWARE and not self._fleet.is_quarantined(uuid):
                self._inbox.put_nowait(_Posted(DeviceQuarantined(self._now(), uuid, event.reason, event.xid)))
            if event.xid is not None and (occupant := self._occupants.get(uuid)):
                self._attempts.suspect(self._attempt_key(occupant.study, occupant.trial), event.xid)
        if event.kind is HealthKind.APPLICATION and event.xid != CLEAN_UP_XID:
            self._blame(event)

    def _blame(self, event: HealthEvent) -> None:
        """End the trial whose program went wrong, where it is sure that it was ours."""
        [uuid, *others] = event.uuids
        occupant = self._occupants.get(uuid)
        if occupant is not None and not others and not self._fleet.has_stranger(uuid):
            message = f"The device stopped the trial: {event.reason}."
            self._attempts.condemn(self._attempt_key(occupant.study, occupant.trial), Failure.CRASHED, message)

    def _yield_devices(self) -> None:
        """Stop trials beside which somebody else's process has appeared, where that is wanted."""
        for uuid, occupant in self._occupants.items():
            name, trial = occupant.study, occupant.trial
            reason = self._fleet.must_yield(uuid, self.study(name).spec.yields)
            key = self._attempt_key(name, trial)
            if reason is not None and not self._attempts.is_asked_to_end(key):
                log.info("trial %d of study %s makes room: %s", trial, name, reason)
                self._attempts.stop(key, self._pins.grace_s)

    def _attempt_key(self, study: str, trial: int) -> str:
        """What identifies the last attempt at a trial."""
        return attempt_key(study, trial, len(self.study(study).trial(trial).attempts))

    async def _apply_to_device(self, event: DeviceEvent, receipt: Receipt | None) -> None:
        """Check, journal, handle, tell, and end what runs on a device that is broken."""
        if isinstance(event, DeviceQuarantined) and self._fleet.is_quarantined(event.device):
            return  # each reading says so anew until the first one is journalled
        self._fleet.check(event)
        told = [device_news(event)]
        await self._journalled(lambda: self._journal.append_device(event, told, receipt))
        self._fleet.handle(event)
        self._tell(told)
        if isinstance(event, DevicesLimited):
            self._publish_info()
        if isinstance(event, DeviceQuarantined) and (occupant := self._occupants.get(event.device)):
            self._attempts.condemn(
                self._attempt_key(occupant.study, occupant.trial),
                Failure.DEVICE_LOST,
                f"The device was lost: {event.reason}.",
            )

    async def woken(self, at_most_s: float) -> None:
        """Wait until a study begins or goes on, at most so many seconds: devices are read again then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()
        self._woken.clear()

    async def _share_out(self) -> None:
        """Put trials on idle devices until nothing more fits."""
        self._note_disk()
        while not self._is_stopping:
            moment = self._moment()
            idle = self._fleet.startable(self._board.devices, self.busy_devices, moment)
            allocations = allocate(idle, self.studies, moment.minute, self._fleet.returned)
            if not allocations:
                return
            for allocation in allocations:
                if self._is_stopping:
                    return
                limit = self.exceeded_limit(self.study(allocation.study))
                if limit is not None:
                    await self._apply(allocation.study, BudgetReached(self._now(), limit))
                    break
                if isinstance(allocation, RequestTrials):
                    await self._apply(allocation.study, TrialsRequested(self._now(), allocation.count))
                else:
                    await self._start(allocation)

    def exceeded_limit(self, study: Study) -> str | None:
        """The limit of its budget that one more trial of a study would exceed, or None if it fits."""
        running = [self._attempts.joules_so_far(self._attempt_key(study.name, trial.id)) for trial in study.running]
        return exceeded_limit(study, self._now(), [joules for joules in running if joules is not None])

    async def _start(self, allocation: StartTrial) -> None:
        """Journal the intent, then start the process."""
        trial = self.study(allocation.study).trial(allocation.trial)
        attempt = len(trial.attempts) + 1
        token = secrets.token_hex(16)
        started = TrialStarted(self._now(), trial.id, attempt, allocation.device, token)
        work = Work(self.study(allocation.study), trial, attempt, self._board.devices[allocation.device], token)
        self._attempts.begin(work)  # first: an orderly stop must wait for an attempt that is being journalled
        try:
            await self._apply(allocation.study, started)
        except CnnboError:
            self._attempts.end(work.key)
            raise
        assert self._tasks is not None
        self._tasks.create_task(self._run_attempt(work), name=f"attempt {work.key}")

    async def _run_attempt(self, work: Work) -> None:
        """Run one attempt and post how it ended; never raises into the group."""
        study, trial, device = work.study, work.trial, work.device

        def on_progress(progress: Progress) -> None:
            if progress.phase is not None and self._board.take_phase(device.uuid, progress.phase):
                self._publish_devices()
            body = messages.progress_object(trial.id, device.uuid, progress)
            topic = f"study/{study.name}/trial/{trial.id}/progress"
            self._publish(Message(topic, body, messages.PROGRESS_SCHEMA, Delivery.PROGRESS))

        ended, is_startable = await self._attempts.run(work, on_progress)
        if not is_startable:
            self._fleet.rest(device.uuid, self._now(), self._now() + REST_S)
        try:
            await self.submit(study.name, ended)
        except (RequestError, InvalidTransitionError) as error:
            log.info("dropped: %s", error)
        finally:
            self._attempts.end(work.key)

    # -- starting and stopping ----------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """After a replay: end what an earlier life left running, with what is found of it."""
        running = [(study, trial) for study in self.studies for trial in study.running]
        orphans = await asyncio.to_thread(self._executor.sweep, [trial.attempts[-1].token for _, trial in running])
        if orphans:
            log.warning("ended %d processes of an earlier life.", orphans)
        for study, trial in running:
            event = await asyncio.to_thread(found, study, trial, self._pins.state, self._now())
            await self._apply(study.name, event)
        for study in self.studies:
            for ask in study.outstanding_asks:
                await self._apply(study.name, AskDropped(self._now(), ask))

    async def stop(self, grace_s: float) -> None:
        """Start nothing more and end all attempts; returns when the last one's end is journalled.

        A second call with a shorter grace hastens it.
        """
        self._is_stopping = True
        self._attempts.stop_starting()
        for study in self.studies:
            for trial in study.running:
                self._attempts.stop(self._attempt_key(study.name, trial.id), grace_s)
        await self._attempts.quiet.wait()
        self._board.end_all()
        await self._save_activities()

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
        told = [
            *messages.cleared(study),
            messages.event_message({"event": "study_deleted", "study": name, "reason": None}),
        ]
        await self._journal.delete(self._entries[name].key, self._now(), told)
        del self._entries[name]
        await asyncio.to_thread(shutil.rmtree, study_dir(self._pins.state, name), ignore_errors=True)
        self._tell(told)

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

    def take_limits(self, sharing: Sharing, slow_patience_s: float, grace_s: float) -> None:
        """Go by other limits of the box from now on; what runs isn't touched.

        Args:
            sharing: see `Fleet`.
            slow_patience_s: see `Fleet`.
            grace_s: see `Pins`.
        """
        self._fleet.take_limits(sharing, slow_patience_s)
        self._pins = replace(self._pins, grace_s=grace_s)
        self._inbox.put_nowait(_Posted())  # more devices may be free now
        self._woken.set()

    def remove_sink(self, sink: Sink) -> None:
        """Tell nothing more to a sink."""
        self._sinks.remove(sink)

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
        self._publish_info()
        for study in self.studies:
            if not study.is_archived:
                for message in messages.retained(study, study.trials, now):
                    self._publish(message)
        self._board.forget_shown()
        self._publish_devices()

    def _publish_info(self) -> None:
        if self._info is not None:
            self._publish(self._info())

    def _publish_devices(self) -> None:
        for message in self._board.update(self._occupants, self._why_idle()):
            self._publish(message)

    def _why_idle(self) -> str:
        """Why a device that could start a trial has none."""
        running = [study for study in self.studies if study.state is StudyState.RUNNING]
        if not running:
            return "no study runs"
        is_more_to_come = any(study.outstanding_asks or study.requestable or study.ready for study in running)
        return "waits for its next trial" if is_more_to_come else "all trials are handed out"

    async def _save_activities(self) -> None:
        """Keep what the devices were up to; on a full disk that is not worth waiting for."""
        if activities := self._board.unsaved:
            with suppress(JournalFullError):
                await self._journal.save_activities(activities)
                self._board.forget_saved(len(activities))

    def _tell(self, told: Iterable[Message]) -> None:
        """Tell what an event changed, once it is journalled."""
        for message in told:
            self._publish(message)
        self._publish_devices()


def _set_aside(directory: Path, at: float) -> None:
    """Files of a study that the journal doesn't know must not be taken for results of a new one, nor be lost."""
    if directory.exists():
        directory.rename(directory.with_name(f"{directory.name}~{at:.0f}"))
