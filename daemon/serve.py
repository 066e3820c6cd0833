"""Wiring: builds every part of the daemon, runs them in one task group, and takes them down in order."""

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbo import __version__
from cnnbo.commit import source_commit
from cnnbo.daemon import messages
from cnnbo.daemon.attempts import Pins
from cnnbo.daemon.control import ControlServer, FollowSink
from cnnbo.daemon.device_reader import DeviceReader
from cnnbo.daemon.executors.local import LocalExecutor
from cnnbo.daemon.folders import NO_FOLDERS, ServiceFolders, prepare_lease_dir, prepare_state_folder, service_folders
from cnnbo.daemon.handler import Handler
from cnnbo.daemon.journal import Journal, too_full
from cnnbo.daemon.living import Daemon
from cnnbo.daemon.logfiles import CHILD_LOG_BYTES, keep_end, shorten_old_logs
from cnnbo.daemon.proposer import Limits, Proposer
from cnnbo.daemon.reloading import Parts, reload_at_hangups
from cnnbo.daemon.settings import Settings
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.sinks.base import Delivery, Message
from cnnbo.daemon.sinks.log import LogSink
from cnnbo.daemon.sinks.systemd import SystemdSink
from cnnbo.daemon.speaker import Speaker, broker_of
from cnnbo.daemon.statelock import state_lock
from cnnbo.daemon.supervised import is_supervised, started, tell_stopping
from cnnbo.daemon.systemd import tell
from cnnbo.daemon.tasks import end_tasks
from cnnbo.daemon.watchdog import feed, feeding_interval_s
from cnnbo.scheduler.fleet import Fleet

if TYPE_CHECKING:
    from cnnbo.daemon.api.objects import DaemonObject, FactsObject, InfoObject

log = logging.getLogger(__name__)

LAST_WAIT_S = 10.0
"""After a second wish to stop, so long may the ends of killed trials take to be journalled."""

DAY_S = 86400.0


@asynccontextmanager
async def running_daemon(
    settings: Settings,
    devices: str,
    folders: ServiceFolders = NO_FOLDERS,
    reread: Callable[[], Settings] | None = None,
) -> AsyncIterator[Daemon]:
    """A daemon that is up while the block runs, and stops in order when it is left.

    Args:
        settings: where it keeps its state and how it speaks to the world.
        devices: what `--devices` says.
        folders: what it has as a service.
        reread: gathers the settings anew, for a reload; None = there is none.

    Raises:
        ConfigurationError: something is wrong with state folder or devices; nothing was started.
    """
    logs = folders.logs or settings.state
    failure: Exception | None = None
    broker = await asyncio.to_thread(broker_of, settings)
    commit = await asyncio.to_thread(source_commit)  # now: a checkout may be at another one later
    async with AsyncExitStack() as stack:
        stack.enter_context(state_lock(settings.state))
        boot = secrets.token_hex(4)
        journal = Journal(settings.state, boot if settings.mqtt.enabled else None)
        stack.push_async_callback(journal.close)
        stored = await journal.open()
        if journal.is_full:
            raise too_full(settings.state)
        reader = DeviceReader(devices, settings)
        stack.push_async_callback(reader.close)
        selection = await reader.open()
        proposer = await stack.enter_async_context(
            Proposer(logs / "proposer.log", Limits(deadline_s=settings.proposer.deadline_s))
        )
        follow = FollowSink()
        pins = Pins(settings.state, settings.lease_dir, settings.grace_s)
        fleet = Fleet(settings.devices, settings.slow_patience_s)
        for event in await journal.device_events():
            fleet.handle(event)
        shell = Shell(
            pins,
            journal,
            LocalExecutor(),
            proposer,
            [follow, LogSink()],
            time.time,
            fleet,
            look=lambda: reader.read(shell, journal),
            info=lambda: _info(daemon, shell),
        )
        shell.take_devices(selection.devices)
        await reader.read(shell, journal)
        daemon = Daemon(settings, selection.note, boot, time.time(), commit)
        handler = Handler(shell, lambda: _facts(daemon, journal), time.time)
        stack.callback(handler.close)
        control = ControlServer(settings.state, handler, follow, folders.runtime)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(shell.run(stored), name="inbox"),
                group.create_task(reader.run(shell, journal), name="devices"),
                group.create_task(reader.listen(shell, journal), name="device events"),
                group.create_task(shell.book_time(), name="clock"),
                group.create_task(_tidy(settings.state, logs), name="tidy"),
            ]
            speaker = Speaker(group, daemon, shell, journal, handler, logs)
            await speaker.begin(settings, broker)
            reloading: list[asyncio.Task[Any]] = []
            if reread is not None:
                parts = Parts(shell, reader, proposer, speaker)
                reloading.append(group.create_task(reload_at_hangups(daemon, parts, reread), name="reload"))
            async with control.listening():
                await shell.settled()
                supervision = [
                    group.create_task(work, name=name) for name, work in _supervision(shell, journal, reader)
                ]
                try:
                    yield daemon
                except Exception as error:
                    failure = error  # the caller's own: raised again below, not wrapped in a group
                # From here on it is told how the stopping goes, and nothing new is taken in.
                await end_tasks([*supervision, *reloading])
                await _stop_trials(shell, daemon, daemon.settings.grace_s)
            await end_tasks(tasks)
            await end_tasks(speaker.tasks)
    if failure is not None:
        raise failure


def _supervision(
    shell: Shell, journal: Journal, reader: DeviceReader
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """What there is to do for systemd, by the names of the tasks."""
    if not is_supervised():
        return
    sink = SystemdSink()
    shell.add_sink(sink)
    yield "status line", sink.run()
    if (every_s := feeding_interval_s()) is not None:
        parts = {
            "the study loop": shell.prove_moving,
            "the journal's thread": journal.prove_moving,
            "the devices' thread": reader.prove_moving,
        }
        yield "watchdog", feed(every_s, parts)


async def _tidy(state: Path, logs: Path) -> None:
    """Shorten old logs of trials, and those of our own children, now and every day, until cancelled."""
    while True:
        await asyncio.to_thread(shorten_old_logs, state, time.time())
        for name in ("proposer.log", "broker.log"):
            with suppress(OSError):  # a day later it is tried again
                await asyncio.to_thread(keep_end, logs / name, CHILD_LOG_BYTES)
        await asyncio.sleep(DAY_S)


async def _stop_trials(shell: Shell, daemon: Daemon, grace_s: float) -> None:
    """Stop in order; a second wish to stop cuts the grace short."""
    daemon.stop.clear()
    telling = asyncio.ensure_future(tell_stopping(lambda: shell.running_trials, grace_s, LAST_WAIT_S))
    stopping = asyncio.ensure_future(shell.stop(grace_s))
    impatience = asyncio.ensure_future(daemon.stop.wait())
    try:
        await asyncio.wait((stopping, impatience), return_when=asyncio.FIRST_COMPLETED)
    finally:
        impatience.cancel()
        telling.cancel()
    if stopping.done():
        return stopping.result()
    # If the journal can't be written, what the trials left on the disk is found at the next start.
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_WAIT_S):
            await shell.stop(0.0)
            await stopping
    return None


def _facts(daemon: Daemon, journal: Journal) -> "FactsObject":
    about: DaemonObject = {
        "version": __version__,
        "commit": daemon.commit,
        "pid": os.getpid(),
        "boot": daemon.boot,
        "started": messages.rfc3339(daemon.started_at),
        "state": str(daemon.state),
        "devices_note": daemon.note,
        "mqtt_reason": daemon.mqtt_reason,
        "mqtt_starting": daemon.mqtt_starting,
        "mqtt_dropped_events": journal.dropped_events,
    }
    return {"daemon": about, "mqtt": daemon.mqtt_url}


def _info(daemon: Daemon, shell: Shell) -> Message:
    body: InfoObject = {
        "version": __version__,
        "node": daemon.settings.node,
        "started": messages.rfc3339(daemon.started_at),
        "devices": daemon.note,
        "pid": os.getpid(),
        "state": str(daemon.state),
        "limit": shell.limit,
        "requests": daemon.settings.mqtt.requests,
    }
    return Message("info", body, messages.INFO_SCHEMA, Delivery.STATE)


def on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at each SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _take_signals(stop: asyncio.Event, hangup: asyncio.Event) -> None:
    on_signals(stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)


async def serve(
    settings: Settings, devices: str, ready: Callable[[Daemon], Awaitable[None]], reread: Callable[[], Settings]
) -> None:
    """Be the daemon until a signal asks to stop; SIGHUP has it reload its settings.

    Args:
        settings: see `running_daemon`.
        devices: see `running_daemon`.
        ready: called once requests are answered, by studies as the journal and the world have them.
        reread: see `running_daemon`.

    Raises:
        ConfigurationError: see `running_daemon`.
    """

    def start() -> AbstractAsyncContextManager[Daemon]:
        prepare_state_folder(settings.state)
        prepare_lease_dir(settings.lease_dir)
        return running_daemon(settings, devices, service_folders(os.environ), reread)

    stop, hangup = asyncio.Event(), asyncio.Event()
    _take_signals(stop, hangup)  # from the first moment on: trials start before everything else is ready
    async with AsyncExitStack() as stack:
        daemon = await started(stack, start, stop, uses_gpus=not devices.startswith("cpu"))
        if daemon is not None:
            _take_signals(daemon.stop, daemon.hangup)
            if hangup.is_set():
                daemon.hangup.set()
            if not stop.is_set():
                await ready(daemon)
                await daemon.stop.wait()
            log.info("stopping.")
    await tell("STATUS=stopped")
