"""The shell between studies and the world, with attempts that end when the test says so."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from cnnbo.daemon.api.objects import DeviceObject
from cnnbo.daemon.attempts import Pins
from cnnbo.daemon.devices.base import Device, DeviceKind, HealthEvent, HealthKind, Sample
from cnnbo.daemon.executors.base import ExitEvidence
from cnnbo.daemon.executors.fake import FakeExecutor
from cnnbo.daemon.journal import Journal, read_journal
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.sinks.base import Message
from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.events import (
    DeviceDrained,
    DeviceReturned,
    StudyAmended,
    StudyCancelled,
    StudyCreated,
    StudyPaused,
    StudyResumed,
    TrialsRetried,
)
from cnnbo.scheduler.fleet import Fleet
from cnnbo.scheduler.occupancy import Stranger
from cnnbo.scheduler.sharing import NO_LIMITS, Sharing, Yield
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import Budget, StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import TrialState

DEVICES = [Device(f"fake-{k}", k, "Fake", DeviceKind.FAKE) for k in range(2)]
SPEC = StudySpec(
    SearchSpace((FloatParameter("x", 0.0, 1.0),)),
    name="s",
    command=("true",),
    evaluations=3,
    optimizer="random",
    start=({"x": 0.1}, {"x": 0.2}, {"x": 0.3}),
)

WELL = {device.uuid: Sample() for device in DEVICES}
BROKEN = WELL | {"fake-0": Sample(fault="It has fallen off the bus.", is_broken=True)}


class Ears:
    """A sink that keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self._news = asyncio.Event()

    def publish(self, message: Message) -> None:
        self.heard.append(message)
        self._news.set()

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait for news after which the claim holds."""
        async with asyncio.timeout(20):
            while not claim():
                self._news.clear()
                await self._news.wait()

    async def run(self) -> None:
        """Nothing to deliver."""

    def events(self) -> list[str]:
        return [str(message.body["event"]) for message in self.heard if message.topic == "event" and message.body]


@dataclass
class Scene:
    """A shell at work."""

    shell: Shell
    executor: FakeExecutor
    ears: Ears
    state: Path
    readings: dict[str, Sample]
    held: dict[str, Stranger]
    errors: list[Exception]

    @property
    def study(self) -> Study:
        return self.shell.study("s")

    async def submit(self, spec: StudySpec = SPEC) -> None:
        await self.shell.submit(spec.name, StudyCreated(1.0, spec))

    async def end(self, trial: int, attempt: int, value: float | None) -> None:
        """Let an attempt end with a value, or crash, and wait until that is known."""
        launch = await self.executor.started(f"s/{trial}/{attempt}")
        if value is not None:
            await asyncio.to_thread(write_result, launch.directory, value)
        self.executor.finish(launch.key, ExitEvidence(exit_code=0 if value is not None else 1))
        await self.until(trial, TrialState.FAILED if value is None else TrialState.COMPLETE)

    def read(self, readings: Mapping[str, Sample], held: Mapping[str, Stranger] = MappingProxyType({})) -> None:
        """Read the devices: so they are from now on."""
        self.readings.update(readings)
        self.held.clear()
        self.held.update(held)
        self.shell.take_samples(readings, held)

    async def until(self, trial: int, state: TrialState) -> None:
        """Wait for a state of a trial."""
        await self.ears.until(lambda: self.study.trial(trial).state is state)


def write_result(directory: Path, value: float) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").write_text(json.dumps({"value": value}))


@pytest.fixture
def no_blocking() -> Iterator[BlockBuster]:
    """A blocking call in the event loop fails the test."""
    with blockbuster_ctx("cnnbo.daemon") as buster:
        yield buster


@asynccontextmanager
async def scene(
    state: Path, executor: FakeExecutor | None = None, sharing: Sharing = NO_LIMITS
) -> AsyncIterator[Scene]:
    """A shell with two devices, torn down without ceremony, like a daemon that dies."""
    journal, executor, ears = Journal(state), executor or FakeExecutor(), Ears()
    stored = await journal.open()
    fleet = Fleet(sharing)
    for event in await journal.device_events():
        fleet.handle(event)
    async with Proposer(state / "proposer.log") as proposer:
        clock = iter(range(10, 10**6)).__next__
        readings, held, errors = dict(WELL), dict[str, Stranger](), list[Exception]()

        async def look() -> None:
            for error in errors:
                raise error
            shell.take_samples(readings, held)

        shell = Shell(Pins(state, None, 0.0), journal, executor, proposer, [ears], clock, fleet, look)
        shell.take_devices(DEVICES)
        work = asyncio.create_task(shell.run(stored))
        try:
            yield Scene(shell, executor, ears, state, readings, held, errors)
        finally:
            work.cancel()
            await asyncio.wait([work])
    await journal.close()


async def test_idle_devices_get_trials_until_the_study_ends(tmp_path: Path, no_blocking: BlockBuster) -> None:
    """One trial per device, the next as soon as one ends, and nothing in the loop ever blocks."""
    async with scene(tmp_path) as at:
        await at.submit()
        for trial in (1, 2, 3):
            launch = await at.executor.started(f"s/{trial}/1")
            assert len(at.executor.running) <= len(DEVICES)
            await asyncio.to_thread(write_result, launch.directory, trial / 10)  # as a trial would: not in our loop
            at.executor.finish(launch.key)
        await at.until(3, TrialState.COMPLETE)
        assert (at.study.state, at.study.incumbent and at.study.incumbent.id) == ("finished", 3)
        assert at.ears.events()[-1] == "study_finished"
    [stored], _ = await asyncio.to_thread(read_journal, tmp_path)
    assert stored.study.trials == at.study.trials


async def test_a_failing_device_gets_no_trial_and_comes_back(tmp_path: Path) -> None:
    """A quarantined device is shown with its reason and not used until it is well."""
    async with scene(tmp_path) as at:
        at.read({"fake-0": Sample(fault="the driver is away"), "fake-1": Sample()})
        await at.submit()
        await at.executor.started("s/1/1")
        assert at.study.trial(2).state is TrialState.PENDING
        states = {device["uuid"]: (device["state"], device["reason"]) for device in at.shell.device_objects()}
        assert states == {"fake-0": ("quarantined", "the driver is away"), "fake-1": ("busy", None)}
        at.read({"fake-0": Sample(), "fake-1": Sample()})
        assert (await at.executor.started("s/2/1")).key == "s/2/1"


async def test_a_device_of_another_instance_is_left_alone(tmp_path: Path) -> None:
    """Its lease is held: using it would slow down somebody else's trial."""
    async with scene(tmp_path) as at:
        uuids = [device.uuid for device in DEVICES]
        held = dict.fromkeys(uuids, Stranger("in use by another cnnbo"))
        at.read(dict.fromkeys(uuids, Sample()), held)
        await at.submit()
        assert not at.executor.running
        assert {device["state"] for device in at.shell.device_objects()} == {"foreign"}


async def test_a_dead_daemons_results_are_harvested_and_the_rest_is_run_again(tmp_path: Path) -> None:
    """A result on the disk is told exactly once; an attempt without one is interrupted and comes first."""
    async with scene(tmp_path) as at:
        await at.submit()
        done, lost = await at.executor.started("s/1/1"), await at.executor.started("s/2/1")
        (done.directory / "result.json").write_text('{"value": 0.5}')
    executor = FakeExecutor()
    async with scene(tmp_path, executor) as at:
        await executor.started("s/2/2")
        assert at.study.trial(1).value == 0.5
        assert at.study.trial(2).attempts[0].outcome == "interrupted"
        assert set(executor.swept) == {done.token, lost.token}


async def test_pause_now_stops_trials_without_counting_them_as_lost(tmp_path: Path) -> None:
    """Pausing every evening must not use up a trial's three attempts."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        await at.executor.started("s/2/1")
        await at.shell.submit("s", StudyPaused(2.0, now=True))
        await at.until(1, TrialState.PENDING)
        await at.until(2, TrialState.PENDING)
        assert [attempt.is_lost for trial in at.study.trials for attempt in trial.attempts] == [False, False]
        await at.shell.submit("s", StudyResumed(3.0))
        assert await at.executor.started("s/1/2")


async def test_retried_trials_are_told_and_run_again_with_files_of_their_own(tmp_path: Path) -> None:
    """Whoever listens must not keep a value that was withdrawn; what the first round left stays readable."""
    async with scene(tmp_path) as at:
        await at.submit()
        for trial, value in ((1, 0.5), (2, None), (3, 0.7)):
            await at.end(trial, 1, value)
        await at.ears.until(lambda: at.study.state.is_ended)
        at.ears.heard.clear()
        await at.shell.submit("s", TrialsRetried(9.0, (2, 3)))
        assert at.ears.events()[:3] == ["trial_retried", "trial_retried", "study_running"]
        told = {message.topic: message.body for message in reversed(at.ears.heard) if message.topic != "event"}
        assert [(told[f"study/s/trial/{n}"] or {})["state"] for n in (2, 3)] == ["pending", "pending"]
        study = told["study/s"] or {}
        assert (study["finished"], study["failed"], study["best_trial"], study["ended"]) == (1, 0, 1, None)
        for trial in (2, 3):
            await at.end(trial, 2, 0.9)
        await at.ears.until(lambda: at.study.state.is_ended)
        assert (at.study.state, at.study.incumbent and at.study.incumbent.id) == ("finished", 2)
    kept = [(tmp_path / f"studies/s/trials/3/{attempt}/result.json").read_text() for attempt in (1, 2)]
    assert kept == ['{"value": 0.7}', '{"value": 0.9}']
    [stored], _ = await asyncio.to_thread(read_journal, tmp_path)
    assert stored.study.trials == at.study.trials


@pytest.mark.parametrize(("value", "found"), [(0.5, []), (None, ["weights"])])
async def test_a_retry_goes_on_from_a_checkpoint_unless_the_training_was_over(
    value: float | None, found: list[str], tmp_path: Path
) -> None:
    """A last checkpoint would give the withdrawn value again; hours before a crash need not be lost."""
    async with scene(tmp_path) as at:
        await at.submit()
        first = await at.executor.started("s/1/1")
        checkpoints = first.directory.parent / "checkpoints"
        (checkpoints / "weights").write_text("trained")
        await at.end(1, 1, value)
        await at.shell.submit("s", TrialsRetried(9.0, (1,)))
        at.executor.finish((await at.executor.started("s/2/1")).key, result={"value": 0.1})
        await at.executor.started("s/1/2")
        assert [path.name for path in checkpoints.iterdir()] == found
        aside = checkpoints.with_name("checkpoints~1") / "weights"
        assert aside.exists() is (value is not None)


async def test_an_attempt_that_went_on_from_a_checkpoint_is_known_by_it(tmp_path: Path) -> None:
    """Its seconds are not those of the whole training: told to everybody, and still known after a restart."""
    async with scene(tmp_path) as at:
        await at.submit()
        results: list[dict[str, object]] = [{"value": 0.1}, {"value": 0.2}, {"failure": "diverged"}]
        for trial, result in enumerate(results, start=1):
            launch = await at.executor.started(f"s/{trial}/1")
            at.executor.finish(launch.key, result=result | ({"resumed": True} if trial > 1 else {}))
        await at.ears.until(lambda: "study_finished" in at.ears.events())
        topics: dict[str, Any] = {message.topic: message.body for message in at.ears.heard}
    [stored], _ = await asyncio.to_thread(read_journal, tmp_path)
    for trial, resumed in ((1, False), (2, True), (3, True)):
        assert [attempt.resumed for attempt in stored.study.trial(trial).attempts] == [resumed]
        told = topics[f"study/s/trial/{trial}"]
        assert (told["resumed"], [attempt["resumed"] for attempt in told["attempts"]]) == (resumed, [resumed])


async def test_cancelling_one_study_leaves_the_others_alone(tmp_path: Path) -> None:
    """People cancel their own study on a shared box."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        await at.executor.started("s/2/1")
        await at.submit(replace(SPEC, name="other"))
        await at.shell.submit("s", StudyCancelled(2.0))
        assert await at.executor.started("other/1/1")
        assert await at.executor.started("other/2/1")
        assert at.study.state == "cancelled"


async def test_the_budget_ends_a_study_before_it_is_exceeded(tmp_path: Path) -> None:
    """What runs goes on to its end; nothing more starts."""
    async with scene(tmp_path) as at:
        await at.submit(replace(SPEC, budget=Budget(cost=0.0005, price_per_device_hour=1.0), max_devices=1))
        at.executor.finish((await at.executor.started("s/1/1")).key, result={"value": 0.5})
        await at.until(1, TrialState.COMPLETE)
        await at.ears.until(lambda: at.study.state.is_ended)
        assert (at.study.reason, at.study.finished) == ("budget", 1)
        more = replace(at.study.spec, budget=Budget())
        await at.shell.submit("s", StudyAmended(9.0, more))
        assert await at.executor.started("s/2/1")


async def test_files_that_cannot_be_written_say_nothing_about_the_configuration(tmp_path: Path) -> None:
    """A full or broken disk must not teach the optimizer that a point is bad."""
    (tmp_path / "studies").write_text("a file where a folder should be")
    async with scene(tmp_path) as at:
        await at.submit()
        await at.ears.until(lambda: any(t.attempts and t.attempts[-1].outcome for t in at.study.trials[:2]))
        ended = [attempt for trial in at.study.trials for attempt in trial.attempts if attempt.outcome]
        assert {(attempt.outcome, attempt.is_lost) for attempt in ended} == {("interrupted", False)}
        assert not at.study.history().failed.size


async def test_a_stop_reaches_an_attempt_that_is_still_preparing(tmp_path: Path) -> None:
    """An order that comes in the first milliseconds of a trial must not be lost for the hours it runs."""
    async with scene(tmp_path) as at:
        await at.submit()  # returns as soon as the trials are journalled as started
        await at.shell.submit("s", StudyCancelled(2.0))
        await at.until(1, TrialState.CANCELLED)
        await at.until(2, TrialState.CANCELLED)


async def test_a_study_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """A typo in a name should cost one look."""
    async with scene(tmp_path) as at:
        await at.submit()
        with pytest.raises(RequestError, match="the studies are: s"):
            at.shell.study("t")


async def test_evidence_is_journalled_with_the_end(tmp_path: Path) -> None:
    """Weeks later, the journal still tells how a process died."""
    async with scene(tmp_path) as at:
        await at.submit()
        launch = await at.executor.started("s/1/1")
        at.executor.finish(launch.key, ExitEvidence(exit_code=3, elapsed_s=1.5))
        await at.until(1, TrialState.FAILED)
        assert at.study.trial(1).failure == "crashed"
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        [body] = db.execute("SELECT json_extract(body, '$.evidence.exit_code') FROM event WHERE type = 'TrialFailed'")
    db.close()
    assert body == (3,)


def shown(at: Scene, uuid: str = "fake-0") -> DeviceObject:
    return next(device for device in at.shell.device_objects() if device["uuid"] == uuid)


async def test_a_lost_device_gives_its_trial_to_another_and_is_not_used_until_it_is_returned(tmp_path: Path) -> None:
    """The trial says nothing about its configuration; the device stays out, over a restart too."""
    executor = FakeExecutor()
    async with scene(tmp_path, executor) as at:
        await at.submit()
        await executor.started("s/1/1")
        second = await executor.started("s/2/1")
        at.read(BROKEN)
        await at.until(1, TrialState.PENDING)
        lost = at.study.trial(1).attempts[0]
        assert (lost.outcome, lost.is_lost, lost.device) == ("device_lost", True, "fake-0")
        assert at.study.trial(1).message == "The device was lost: It has fallen off the bus."
        assert not at.study.history().failed.size
        executor.finish(second.key, result={"value": 0.5})
        assert (await executor.started("s/1/2")).key == "s/1/2"
        assert at.study.trial(1).attempts[1].device == "fake-1"
        assert "device_quarantined" in at.ears.events()
    executor = FakeExecutor()
    async with scene(tmp_path, executor) as at:
        at.read(WELL)
        assert (shown(at)["state"], shown(at)["reason"]) == ("quarantined", "It has fallen off the bus")
        await executor.started("s/1/3")
        assert len(executor.running) == 1
        await at.shell.submit_device(DeviceReturned(50.0, "fake-0", "returned by bob"))
        await executor.started("s/3/1")
        assert shown(at)["state"] == "busy"


async def test_an_error_of_the_program_ends_its_trial_and_leaves_the_device_in_use(tmp_path: Path) -> None:
    """A kernel that reads past its memory is the training code's fault; some hang there for hours."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        at.shell.take_health(HealthEvent(("fake-0",), HealthKind.APPLICATION, "XID 31: a bad address", 31))
        await at.until(1, TrialState.FAILED)
        trial = at.study.trial(1)
        assert (trial.failure, trial.message) == ("crashed", "The device stopped the trial: XID 31: a bad address.")
        assert (await at.executor.started("s/3/1")).key == "s/3/1"
        assert at.study.trial(3).attempts[0].device == "fake-0"
    assert _evidence(tmp_path, "xids") == [[31]]


async def test_the_cleaning_up_after_a_kill_harms_nobody(tmp_path: Path) -> None:
    """NVIDIA reports XID 45 after every process that was killed: the next trial is there by then."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        at.shell.take_health(HealthEvent(("fake-0",), HealthKind.APPLICATION, "XID 45: cleaned up", 45))
        await at.end(1, 1, 0.5)
    assert _evidence(tmp_path, "xids") == [[45]]


async def test_an_error_of_the_hardware_quarantines_the_devices_it_names(tmp_path: Path) -> None:
    """Where the driver can't say which device it was, all of them are suspect."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        await at.executor.started("s/2/1")
        at.shell.take_health(HealthEvent(("fake-0", "fake-1"), HealthKind.HARDWARE, "XID 79: off the bus", 79))
        await at.until(1, TrialState.PENDING)
        await at.until(2, TrialState.PENDING)
        assert {device["state"] for device in at.shell.device_objects()} == {"quarantined"}
        assert {trial.attempts[-1].outcome for trial in at.study.trials[:2]} == {"device_lost"}
        assert not at.executor.running


async def test_a_result_that_was_written_before_the_device_was_lost_counts(tmp_path: Path) -> None:
    """The training was done."""
    async with scene(tmp_path) as at:
        await at.submit()
        launch = await at.executor.started("s/1/1")
        await asyncio.to_thread(write_result, launch.directory, 0.5)
        at.read(BROKEN)
        await at.until(1, TrialState.COMPLETE)
        assert at.study.trial(1).value == 0.5


async def test_a_drained_device_finishes_its_trial_and_gets_no_other(tmp_path: Path) -> None:
    """Nobody loses an evening's training because somebody wants to change a fan."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        await at.executor.started("s/2/1")
        await at.shell.submit_device(DeviceDrained(9.0, "fake-0", "drained by bob"))
        assert (shown(at)["state"], shown(at)["trial"]) == ("drained", 1)
        await at.end(1, 1, 0.5)
        assert at.study.trial(3).state is TrialState.PENDING
        await at.shell.submit_device(DeviceReturned(9.0, "fake-0"))
        await at.executor.started("s/3/1")


@pytest.mark.parametrize("yields", Yield)
async def test_a_trial_makes_room_for_somebody_else_where_that_is_wanted(yields: Yield, tmp_path: Path) -> None:
    """As a pause would stop it: with time for a checkpoint, and not counted as lost."""
    async with scene(tmp_path) as at:
        await at.submit(replace(SPEC, yields=yields))
        await at.executor.started("s/1/1")
        at.read(WELL, {"fake-0": Stranger("alice: python train.py (pid 7, 9.1 GB)", is_known=True)})
        if yields is Yield.STOP:
            await at.until(1, TrialState.PENDING)
            attempt = at.study.trial(1).attempts[0]
            assert (attempt.outcome, attempt.is_lost, shown(at)["state"]) == ("interrupted", False, "foreign")
        else:
            await at.end(1, 1, 0.5)
            assert shown(at)["state"] == "foreign"


async def test_energy_is_journalled_with_each_attempt(tmp_path: Path) -> None:
    """What a study has cost in energy is the sum of what its attempts used."""
    async with scene(tmp_path) as at:
        at.read({uuid: Sample(energy_j=1000.0) for uuid in WELL})
        await at.submit()
        await at.executor.started("s/1/1")
        at.read({uuid: Sample(energy_j=1250.0) for uuid in WELL})
        await at.end(1, 1, 0.5)
        assert at.study.trial(1).energy_j == 250.0
        assert at.shell.is_energy_measured()


async def test_the_timeline_of_the_devices_is_in_the_journal(tmp_path: Path) -> None:
    """Where the time went can be asked for in SQL, gaps and their reasons included."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.end(1, 1, 0.5)
        await at.shell.submit("s", StudyCancelled(2.0))
        await at.ears.until(lambda: not at.study.running)
        await at.shell.stop(0.0)
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
        rows = db.execute("SELECT activity, study, trial, ended FROM timeline WHERE device = 'fake-0'").fetchall()
    course = [row[:3] for row in rows if row[0] != "idle"]
    assert course == [("training", "s", 1), ("training", "s", 3), ("off", None, None)]
    assert [row[3] is None for row in rows] == [False] * (len(rows) - 1) + [True]


def _evidence(state: Path, key: str) -> list[object]:
    """What stands under a key in the evidence of all ends of attempts that have it."""
    with closing(sqlite3.connect(state / "journal.sqlite")) as db:
        rows = db.execute("SELECT json_extract(body, '$.evidence.' || ?) FROM event ORDER BY seq", (key,)).fetchall()
    return [json.loads(found) for (found,) in rows if found is not None]


async def test_a_crash_of_a_device_that_turns_out_to_be_lost_is_not_the_configurations_fault(tmp_path: Path) -> None:
    """A program dies of its device before anybody has looked at that."""
    async with scene(tmp_path) as at:
        await at.submit()
        launch = await at.executor.started("s/1/1")
        at.readings |= BROKEN
        at.executor.finish(launch.key, ExitEvidence(exit_code=1))
        await at.until(1, TrialState.PENDING)
        assert at.study.trial(1).attempts[0].outcome == "device_lost"


async def test_somebody_elses_broken_program_does_not_end_our_trial(tmp_path: Path) -> None:
    """Beside a colleague's notebook the driver's word says nothing of whose program it was."""
    async with scene(tmp_path) as at:
        await at.submit()
        await at.executor.started("s/1/1")
        at.read(WELL, {"fake-0": Stranger("alice: jupyter (pid 7, 1.0 GB)", is_known=True)})
        at.shell.take_health(HealthEvent(("fake-0",), HealthKind.APPLICATION, "XID 31: a bad address", 31))
        at.shell.take_health(HealthEvent(("fake-0", "fake-1"), HealthKind.APPLICATION, "XID 31: a bad address", 31))
        await at.end(1, 1, 0.5)


async def test_a_driver_that_cannot_be_asked_costs_no_result(tmp_path: Path) -> None:
    """Looking at the device is for the record; what was trained is the point."""
    async with scene(tmp_path) as at:
        await at.submit()
        launch = await at.executor.started("s/1/1")
        at.errors.append(RuntimeError("the driver said something unheard of"))
        await asyncio.to_thread(write_result, launch.directory, 0.5)
        at.executor.finish(launch.key)
        await at.until(1, TrialState.COMPLETE)


async def test_a_lost_device_is_journalled_once_however_often_it_is_seen(tmp_path: Path) -> None:
    """With the inbox waiting for disk space a night of readings would be a night of rows."""
    async with scene(tmp_path) as at:
        for _ in range(5):
            at.read(BROKEN)
        await at.shell.submit_device(DeviceDrained(9.0, "fake-1", "drained by bob"))
        assert at.ears.events() == ["device_quarantined", "device_drained"]


async def test_devices_stay_in_their_order_when_others_are_found(tmp_path: Path) -> None:
    """Lists, and which device is preferred, go by the index."""
    async with scene(tmp_path) as at:
        await at.submit(replace(SPEC, max_devices=1))
        await at.executor.started("s/1/1")
        at.shell.take_devices([DEVICES[1], Device("fake-2", 2, "Fake", DeviceKind.FAKE)])  # fake-0 has vanished
        assert [device["uuid"] for device in at.shell.device_objects()] == ["fake-0", "fake-1", "fake-2"]


async def test_a_stop_waits_for_an_attempt_that_is_just_being_journalled(tmp_path: Path) -> None:
    """Missed, it would count as lost at the next start, and three such evenings would fail the trial."""
    async with scene(tmp_path) as at:
        submitted = asyncio.create_task(at.submit())
        await at.ears.until(lambda: "study_created" in at.ears.events())
        await at.shell.stop(0.0)
        await submitted
        assert not at.study.running
        assert {attempt.is_lost for trial in at.study.trials for attempt in trial.attempts} <= {False}
