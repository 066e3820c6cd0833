"""Everything that strikes a round: one function per fault or order, which also heals what it did.

A new one is a function here and its weight in `plan`. Strikes may overlap; whoever starts, stops or freezes the daemon
holds `world.life` meanwhile.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from tests.nemesis.plan import Strike, StudyPlan
from tests.nemesis.world import MissedError, UnavailableError, World
from tests.nvml.driver import FakeProcess

from cnnbo.daemon.journal import JOURNAL_NAME, read_journal
from cnnbo.scheduler.errors import CnnboError

Fault = Callable[[World, Strike], Awaitable[None]]

_UNKNOWN_ERROR = 999  # NVML's
_ILLEGAL_ADDRESS, _CLEANED_UP, _OFF_THE_BUS = 31, 45, 79  # XIDs
_NOTHING_FREE = 1.0 / 3.0
_VICTIM_S = 1.5  # for a process to strike to be there; between two trials there is no runner


# -- the daemon -------------------------------------------------------------------------------------------------------


async def kill_daemon(world: World, strike: Strike) -> None:
    """SIGKILL, and a new life at once."""
    async with world.life:
        if not world.note_unwanted_end():
            await world.kill_daemon()
        await world.start_daemon()


async def stop_daemon(world: World, strike: Strike) -> None:
    """An orderly stop in the middle of everything, and a new life."""
    async with world.life:
        if not world.note_unwanted_end():
            await world.stop_daemon()
        await world.start_daemon()


async def freeze_daemon(world: World, strike: Strike) -> None:
    """SIGSTOP for a while: its children go on, and their reports pile up."""
    async with world.life:
        world.signal_daemon(signal.SIGSTOP)
        await asyncio.sleep(strike.lasts_s)
        world.signal_daemon(signal.SIGCONT)


async def jump_clock(world: World, strike: Strike) -> None:
    """The daemon's wall clock jumps by up to two hours, back or forth, and stays there."""
    if not world.has_faketime:
        raise UnavailableError("faketime is not installed")
    clock = world.folder / "clock"
    unfinished = clock.with_suffix(".new")
    unfinished.write_text(f"{4 * 3600 * (strike.pick - 0.5):+.0f}\n")
    unfinished.replace(clock)


# -- its children -----------------------------------------------------------------------------------------------------


async def _strike_one(victims: Callable[[], Sequence[int]], strike: Strike, number: signal.Signals) -> int:
    """Send a signal to one of several processes, once there is one; returns which.

    Raises:
        MissedError: none came.
    """
    deadline = time.monotonic() + _VICTIM_S
    while not (pids := victims()):
        if time.monotonic() > deadline:
            raise MissedError
        await asyncio.sleep(0.01)
    victim = pids[int(strike.pick * len(pids))]
    with suppress(ProcessLookupError):
        os.kill(victim, number)
    return victim


async def kill_runner(world: World, strike: Strike) -> None:
    """SIGKILL one half of a trial's runner: whoever should have cleaned up is gone."""
    await _strike_one(lambda: world.children("runner"), strike, signal.SIGKILL)


async def kill_trial(world: World, strike: Strike) -> None:
    """SIGKILL a trial's command, as the kernel does when memory runs out."""
    await _strike_one(world.trials, strike, signal.SIGKILL)


async def kill_proposer(world: World, strike: Strike) -> None:
    """SIGKILL the process that proposes."""
    await _strike_one(lambda: world.children("proposer_process"), strike, signal.SIGKILL)


async def freeze_proposer(world: World, strike: Strike) -> None:
    """SIGSTOP the process that proposes, for a while."""
    frozen = await _strike_one(lambda: world.children("proposer_process"), strike, signal.SIGSTOP)
    await asyncio.sleep(strike.lasts_s)
    if frozen in world.children("proposer_process"):
        os.kill(frozen, signal.SIGCONT)


async def kill_broker(world: World, strike: Strike) -> None:
    """SIGKILL the broker, which forgets all it retained; the embedded one is for the daemon to start again."""
    if world.broker is None:
        await _strike_one(lambda: world.children("broker"), strike, signal.SIGKILL)
        return
    await world.broker.stop()
    await asyncio.sleep(strike.lasts_s)
    await world.broker.start()


# -- disk and files ---------------------------------------------------------------------------------------------------


async def fill_disk(world: World, strike: Strike) -> None:
    """Fill the disk for a while: to the last byte, or but for a little."""
    if not os.path.ismount(world.state):  # noqa: ASYNC240 - a look at a folder of our own
        raise UnavailableError("no small disk: mounting a tmpfs needs root")
    spare = 0 if strike.pick < _NOTHING_FREE else 2 << 20
    with suppress(OSError), world.filler.open("ab", buffering=0) as filler:
        while (free := shutil.disk_usage(world.state).free - spare) > 0:
            filler.write(bytes(min(free, 1 << 20)))
    await asyncio.sleep(strike.lasts_s)
    world.filler.unlink(missing_ok=True)


async def copy_journal(world: World, strike: Strike) -> None:
    """Copy the journal's files while they are written, as backups do; the copy must be whole."""
    async with world.life:  # a stop takes the -wal away between the two copies
        world.problems += copy_problems(world.state, world.folder / f"copy-{strike.after_row}")


def copy_problems(state: Path, copy: Path) -> list[str]:
    """Copy a journal with what isn't in its main file yet, and try to use the copy; what is wrong with it."""
    copy.mkdir(exist_ok=True)
    for name in (JOURNAL_NAME, f"{JOURNAL_NAME}-wal"):
        with suppress(FileNotFoundError):
            shutil.copy(state / name, copy / name)
    try:
        with closing(sqlite3.connect(copy / JOURNAL_NAME)) as journal:
            verdicts = [verdict for (verdict,) in journal.execute("PRAGMA integrity_check")]
        read_journal(copy)
    except (sqlite3.Error, CnnboError) as error:
        return [f"a copy of the journal could not be read: {error}"]
    return [f"a copy of the journal is damaged: {verdict}" for verdict in verdicts if verdict != "ok"]


# -- devices -----------------------------------------------------------------------------------------------------------


async def lose_device(world: World, strike: Strike) -> None:
    """A device falls off the bus, and is reset; it is used again when somebody returns it."""
    device = _device(world, strike)
    world.driver.lose(device)
    await asyncio.sleep(strike.lasts_s)
    world.driver.restore(device)


async def report_error(world: World, strike: Strike) -> None:
    """The driver reports an error: of the program, of the hardware, or of hardware that it can't name."""
    device, kind = _device(world, strike), int(strike.pick * 1000) % 4
    if kind == 0:
        world.driver.xid(device, _ILLEGAL_ADDRESS)
    elif kind == 1:
        world.driver.xid(device, _CLEANED_UP)
    elif kind == 2:
        world.driver.xid(device, _OFF_THE_BUS)
    else:
        world.driver.xid(None, _OFF_THE_BUS)


async def drain_and_return(world: World, strike: Strike) -> None:
    """Somebody wants a device to be left alone for a while."""
    device = _device(world, strike)
    await world.cnnbo("drain", device)
    await asyncio.sleep(strike.lasts_s)
    await world.cnnbo("return", device)


async def break_driver(world: World, strike: Strike) -> None:
    """Every call of the driver fails with "unknown error" for a while."""
    world.driver.fail(_UNKNOWN_ERROR)
    await asyncio.sleep(strike.lasts_s)
    world.driver.fail(0)


async def occupy_device(world: World, strike: Strike) -> None:
    """Somebody else's process uses a device for a while, and must not be hurt."""
    device = _device(world, strike)
    command = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]
    stranger = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)
    world.driver.occupy(device, FakeProcess(stranger.pid, 9000))
    await asyncio.sleep(strike.lasts_s)
    world.driver.occupy(device)
    if stranger.returncode is not None:
        world.problems.append(f"somebody else's process was hurt: it ended with status {stranger.returncode}")
    assert stranger.stdin is not None
    stranger.stdin.close()
    await stranger.wait()


def _device(world: World, strike: Strike) -> str:
    return world.devices[int(strike.pick * len(world.devices))]


# -- what users order -------------------------------------------------------------------------------------------------


def _study(world: World, strike: Strike) -> StudyPlan:
    return world.plan.studies[int(strike.pick * len(world.plan.studies))]


async def pause_and_resume(world: World, strike: Strike) -> None:
    """Nothing new starts for a while."""
    name = _study(world, strike).name
    await world.cnnbo("pause", name)
    await asyncio.sleep(strike.lasts_s)
    await world.cnnbo("resume", name)


async def stop_and_resume(world: World, strike: Strike) -> None:
    """Running trials are stopped too, and run again."""
    name = _study(world, strike).name
    await world.cnnbo("pause", name, "--now")
    await asyncio.sleep(strike.lasts_s)
    await world.cnnbo("resume", name)


async def retry(world: World, strike: Strike) -> None:
    """What the first trials came to is withdrawn."""
    name = _study(world, strike).name
    await world.cnnbo("retry", name, "--crashed")
    await world.cnnbo("retry", name, "1")


async def cancel_one(world: World, strike: Strike) -> None:
    """One study is given up."""
    await world.cnnbo("cancel", _study(world, strike).name)


async def extend(world: World, strike: Strike) -> None:
    """The study file comes again with more evaluations."""
    study = _study(world, strike)
    await world.submit(study, evaluations=study.evaluations + 2)


async def raise_budget(world: World, strike: Strike) -> None:
    """The study file comes again with a budget, smaller or larger than before."""
    await world.submit(_study(world, strike), cost=(2.0 + 12.0 * strike.pick) / 3600)


_ALL: tuple[Fault, ...] = (
    kill_daemon, stop_daemon, freeze_daemon, jump_clock, kill_runner, kill_trial, kill_proposer, freeze_proposer,
    kill_broker, fill_disk, copy_journal, lose_device, report_error, break_driver, occupy_device,
    drain_and_return, pause_and_resume, stop_and_resume,
    retry, cancel_one, extend, raise_budget,
)  # fmt: skip
BY_NAME: dict[str, Fault] = {fault.__name__: fault for fault in _ALL}
