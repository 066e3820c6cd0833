"""`cnnbo run`: tune in the foreground, as one's own daemon or by following the one that is there."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.cli.report import Report
    from cnnbo.daemon.client import Connection
    from cnnbo.daemon.serve import Daemon
    from cnnbo.daemon.settings import Settings
    from cnnbo.scheduler.spec import StudySpec


def run(
    study: options.StudyFile,
    devices: options.Devices = None,
    data: options.Data = None,
    state: options.State = None,
    node: options.Node = None,
    no_mqtt: options.NoMqtt = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, start nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Hand the study to the daemon and return.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print nothing but the final `show` object on stdout.")] = False,
) -> None:
    """Tune in the foreground until the study ends; run it again to go on after Ctrl-C or a crash."""
    from cnnbo.cli.intake import read_study

    settings = options.settings(state, node, no_mqtt)
    spec = read_study(study, data)
    if dry_run:
        from cnnbo.daemon.handler import prepare_data

        asyncio.run(prepare_data(spec))
        _print_plan(spec, settings, devices)
        return
    if detach:
        from cnnbo.cli.commands.submit import submit_spec

        submit_spec(spec, settings.state, json)
        return
    raise typer.Exit(asyncio.run(_Foreground(spec, settings, devices, json).run()))


def _print_plan(spec: "StudySpec", settings: "Settings", devices: str | None) -> None:
    from cnnbo.cli import output
    from cnnbo.daemon.devices.select import open_devices
    from cnnbo.scheduler.space import describe

    selection = open_devices(devices or "auto")
    selection.backend.close()
    what = f"model {spec.model}" if spec.model else f"command {' '.join(spec.command)} ({spec.origin.python})"
    print(f"study {spec.name}: {spec.evaluations} trials of {what}, {spec.optimizer}, seed {spec.seed}")
    print(f"metric {spec.metric} ({spec.direction}), data {spec.data_dir or '-'}, state {settings.state}")
    print(selection.note)
    for parameter in spec.space.parameters:
        print(f"  {describe(parameter)}")
    for configuration in spec.start:
        print(f"first: {output.configuration(configuration)}")
    print("Nothing was started.")


class _Foreground:
    """One `cnnbo run`, from submission to farewell."""

    def __init__(self, spec: "StudySpec", settings: "Settings", devices: str | None, json: bool) -> None:
        self._spec = spec
        self._settings = settings
        self._devices = devices
        self._json = json
        self._interrupts: asyncio.Queue[int] = asyncio.Queue()

    def _say(self, line: str) -> None:
        # With --json, stdout belongs to the final object.
        print(line, file=sys.stderr if self._json else sys.stdout, flush=True)

    async def run(self) -> int:
        """Follow the daemon that is there, or be one; returns the exit code."""
        from cnnbo.daemon.client import Connection, NoDaemonError
        from cnnbo.daemon.folders import prepare_lease_dir, prepare_state_folder
        from cnnbo.scheduler.errors import ConfigurationError

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupts.put_nowait, number)
        try:
            connection = await Connection.open(self._settings.state)
        except NoDaemonError:
            prepare_state_folder(self._settings.state)
            prepare_lease_dir(self._settings.lease_dir)
            return await self._as_daemon()
        if self._devices is not None:
            raise ConfigurationError(
                f"--devices: a daemon works in {self._settings.state} already and has devices of its own; "
                "leave the flag out to use them, or start elsewhere with --state DIR."
            )
        self._say(
            f"a daemon works in {self._settings.state} already: the study is handed to it and followed from here."
        )
        return await self._follow(connection, None)

    async def _as_daemon(self) -> int:
        from cnnbo.daemon.client import Connection
        from cnnbo.daemon.serve import running_daemon

        async with running_daemon(self._settings, self._devices or "auto") as daemon:
            self._say(daemon.note)
            try:
                code = await self._follow(await Connection.open(self._settings.state), daemon)
            finally:
                watcher = asyncio.ensure_future(self._hasten(daemon))
        watcher.cancel()
        return code

    async def _hasten(self, daemon: "Daemon") -> None:
        """While the daemon stops, one more signal cuts the grace short."""
        await self._interrupts.get()
        daemon.stop.set()

    async def _follow(self, connection: "Connection", daemon: "Daemon | None") -> int:
        """Submit the study and tell its course until it ends or a signal comes."""
        from cnnbo.cli.intake import submission
        from cnnbo.cli.report import Report
        from cnnbo.daemon.client import Connection

        submitted = await connection.request("submit", **submission(self._spec))
        if self._spec.model is None:
            self._say(f"trials run in {self._spec.origin.cwd}, python is {self._spec.origin.python}")
        status = await connection.request("status")
        listener = await Connection.open(self._settings.state)
        report = Report(await listener.request("follow", study=self._spec.name), status["devices"], self._say)
        report.hello(self._spec.data_dir, submitted["outcome"])
        self._name_others(status["studies"], "this daemon goes on with other studies too")
        listening = asyncio.ensure_future(_listen(listener, report))
        interrupted = asyncio.ensure_future(self._interrupts.get())
        await asyncio.wait((listening, interrupted), return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        if listening.done():
            listening.result()
            code = await self._farewell(connection, report, has_daemon=daemon is None)
        else:
            listening.cancel()
            code = await self._interrupted(connection, daemon, interrupted.result())
        await listener.close()
        await connection.close()
        return code

    async def _farewell(self, connection: "Connection", report: "Report", has_daemon: bool) -> int:
        shown = await connection.request("show", study=self._spec.name)
        is_paused = shown["state"] == "paused"
        if is_paused:
            self._tell_crashes(shown, has_daemon)
        else:
            report.goodbye()
        self._print_final(shown)
        studies = (await connection.request("status"))["studies"]
        self._name_others(studies, "still unfinished in this state folder; cnnbo daemon goes on with them")
        return 0 if shown["state"] == "finished" else 1

    def _name_others(self, studies: list[dict[str, Any]], what: str) -> None:
        others = [s["name"] for s in studies if s["state"] == "running" and s["name"] != self._spec.name]
        if others:
            self._say(f"{what}: {', '.join(others)}")

    def _tell_crashes(self, shown: dict[str, Any], has_daemon: bool) -> None:
        from cnnbo.cli.report import crash_report

        for line in crash_report(shown, self._settings.state, has_daemon):
            print(line, file=sys.stderr)

    def _print_final(self, shown: dict[str, Any]) -> None:
        if self._json:
            from cnnbo.cli.output import print_json

            print_json(shown)

    async def _interrupted(self, connection: "Connection", daemon: "Daemon | None", number: int) -> int:
        from cnnbo.scheduler.errors import RequestError

        if daemon is None:
            self._say(f"no longer followed; the daemon goes on: cnnbo show {self._spec.name}")
            return 130
        if number == signal.SIGTERM:
            self._say("stopping; run the same command to go on.")
            return 0
        grace = self._settings.grace_s
        self._say(
            f"stopping: trials have {grace:.0f} s for a checkpoint (Ctrl-C again: now); run the same command to go on."
        )
        with suppress(RequestError):  # it may have ended, or been cancelled, in this moment
            await connection.request("pause", study=self._spec.name, now=True)
        return 130


async def _listen(listener: "Connection", report: "Report") -> None:
    """Tell the news until the study has ended, or was paused by crashes with nothing left running."""
    from cnnbo.daemon.client import NoDaemonError

    news = listener.news()
    waiting: asyncio.Future[Any] = asyncio.ensure_future(anext(news, None))
    try:
        while not _is_over(report.study):
            done, _ = await asyncio.wait((waiting,), timeout=30)
            if not done:
                report.beat()
                continue
            message = waiting.result()
            if message is None:
                raise NoDaemonError(
                    "the daemon went away; its journal keeps all results, run the same command to go on."
                )
            report.take(*message)
            report.beat()
            waiting = asyncio.ensure_future(anext(news, None))
    finally:
        waiting.cancel()


def _is_over(study: dict[str, Any]) -> bool:
    if study["state"] == "paused":
        return bool(study["reason"] == "crashes" and study["running"] == 0)
    return bool(study["state"] != "running" and study["running"] == 0)
