"""The world of one round: a real daemon with its broker, driver, disk and clock, and the ways to look at them."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

from tests.mosquitto import Mosquitto
from tests.nemesis.plan import DEVICES, Plan, StudyPlan
from tests.nemesis.processes import Marked, spawn_seconds, wait_until_gone
from tests.nvml.driver import FakeDriver, gpus

from cnnbo.daemon.client import request
from cnnbo.daemon.journal import JOURNAL_NAME
from cnnbo.daemon.processes import command_line, descendants
from cnnbo.scheduler.errors import CnnboError

CNNBO = Path(sys.executable).with_name("cnnbo")
NODE = "nemesis"
DISK_MIB = 72
"""Size of a small disk: twice cnnbo's reserve, which it wants to start at all, and room for a round's files."""

PATIENCE_S = 60.0
"""For what is bound to happen; a round that is well never waits so long."""

STANDSTILL_S = 1.5
"""When nothing is journalled for so long while no study runs, nothing will be before the next strike."""

LONG_STANDSTILL_S = 15.0
"""The same while a study runs: something is slow, or all devices are lost."""

DEATH_S = 1.0
"""So long after SIGKILL of the daemon nothing of its trials lives any more; see `World.kill_daemon`."""

SPAWN_S = 0.05
"""A bare interpreter starts and ends within this on a machine that isn't loaded: three times what it takes idle."""

PATTERN = "val: (nan|[0-9.e-]+)"
"""What finds the value in a trial's output."""

_LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
_TRAINING = Path(__file__).with_name("training.py")
_PRICE = 1.0

# Loaded by now, the clock's library is taken out of what the daemon hands to its children: theirs is the real time.
_UNDER_FAKETIME = "import os; del os.environ['LD_PRELOAD']; from cnnbo.cli.app import main; main()"


class UnavailableError(Exception):
    """What a strike needs is not on this machine; the text says what."""


class MissedError(Exception):
    """There was nobody to strike."""


class World:
    """Everything a strike can get at.

    Attributes:
        folder: of the round; holds state, witness, outputs.
        marker: random text that the daemon's processes carry in their environment, and trials in their arguments.
        life: held by whoever starts, stops or freezes the daemon.
        problems: sentences about what must not be, found while the round was played.
        used: the strikes that were carried out, by name.
        skipped: those that weren't, with the reason.
    """

    def __init__(self, folder: Path, plan: Plan, nvml_library: Path) -> None:
        self.folder = folder
        self.plan = plan
        self.marker = f"nemesis-{plan.seed}-{secrets.token_hex(8)}"
        self.state = folder / "state"
        self.witness = folder / "witness"
        for directory in (self.state, self.witness, folder / "outputs", folder / "leases"):
            directory.mkdir(parents=True)
        self.driver = FakeDriver(nvml_library, folder / "nvml", gpus(DEVICES))
        self.devices = [gpu.uuid for gpu in gpus(DEVICES)]
        self.broker = Mosquitto(folder) if plan.own_broker else None
        self.life = asyncio.Lock()
        self.problems: list[str] = []
        self.used: list[str] = []
        self.skipped: dict[str, str] = {}
        self._begin = time.monotonic()
        self._daemon: asyncio.subprocess.Process | None = None
        self._lives = 0
        self._calls = 0
        self._port = _free_port()

    def tell(self, what: str) -> None:
        """Write a line of the round's story, for whoever has to understand a failure."""
        with (self.folder / "outputs" / "story").open("a") as story:
            story.write(f"{time.monotonic() - self._begin:7.3f} s, row {self.rows():3}: {what}\n")

    # -- the daemon

    @property
    def has_faketime(self) -> bool:
        return _LIBFAKETIME is not None

    @property
    def filler(self) -> Path:
        """What fills the disk."""
        return self.state / "filler"

    def environment(self) -> dict[str, str]:
        """What the command line and the daemon have in their environment."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CNNBO_", "CUDA_", "XDG_", "PYTEST"))}
        mqtt = {"CNNBO_MQTT_PORT": str(self._port)} if self.broker is None else {"CNNBO_MQTT_URL": self.broker.url}
        return (
            kept
            | self.driver.env()
            | mqtt
            | {
                "CNNBO_CONFIG": os.devnull,
                "CNNBO_STATE": str(self.state),
                "CNNBO_NODE": NODE,
                "CNNBO_LEASE_DIR": str(self.folder / "leases"),
                "CNNBO_POLL_S": "0.1",
                "CNNBO_GRACE_S": "0.5",
                # A surrogate starts cold after each kill of the proposer; a Sobol point needs no patience.
                "CNNBO_PROPOSER_DEADLINE_S": "20" if self.plan.uses_surrogate else "3",
            }
        )

    async def start_daemon(self) -> None:
        """Start the daemon, and again where it died, as its service manager would, until it is ready."""
        deadline = time.monotonic() + PATIENCE_S
        while not await self._start_once():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the daemon did not start within {PATIENCE_S:g} s")
            await asyncio.sleep(0.2)
        self.tell("the daemon is ready")

    async def _start_once(self) -> bool:
        self._lives += 1
        clock = self._clock_environment()
        command = (sys.executable, "-P", "-c", _UNDER_FAKETIME) if clock else (str(CNNBO),)
        with _Readiness() as ready, (self.folder / "outputs" / f"daemon-{self._lives}").open("wb") as output:
            self._daemon = await asyncio.create_subprocess_exec(
                *(*command, "daemon", "--devices", "auto"),
                env=self.environment() | clock | {"NEMESIS_ROUND": self.marker, "NOTIFY_SOCKET": ready.address},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            ended = asyncio.ensure_future(self._daemon.wait())
            heard = asyncio.ensure_future(ready.wait())
            await asyncio.wait((ended, heard), return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_S)
            is_ready = heard.done()
            heard.cancel()
            ended.cancel()
        status = self._daemon.returncode
        if not is_ready:  # what is wrong around it, no disk or no driver, it waits for
            self.problems.append(f"the daemon was not ready after {PATIENCE_S:g} s, or ended before (status {status})")
        return is_ready

    def _clock_environment(self) -> dict[str, str]:
        if not self.plan.has("jump_clock") or not self.has_faketime:
            return {}
        clock = self.folder / "clock"
        if not clock.exists():
            clock.write_text("+0\n")
        return {
            "LD_PRELOAD": str(_LIBFAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until a jump is noticed
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it, Python's threads hand the interpreter on only after seconds
            "NO_FAKE_STAT": "1",
        }

    @property
    def daemon_pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    @property
    def daemon_lives(self) -> bool:
        """Whether the daemon runs (it may be frozen)."""
        return self._daemon is not None and self._daemon.returncode is None

    def signal_daemon(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.daemon_pid, number)

    async def kill_daemon(self) -> None:
        """SIGKILL the daemon, and see that nothing of it lives a second later, or more where all is slower just now."""
        assert self._daemon is not None
        limit_s = DEATH_S * max(1.0, spawn_seconds() / SPAWN_S)
        marked = Marked(self.marker)
        self.signal_daemon(signal.SIGKILL)
        await self._daemon.wait()
        self.tell("the daemon is dead")
        left = await asyncio.to_thread(wait_until_gone, marked, limit_s)
        self.problems += [f"{limit_s:.1f} s after SIGKILL of the daemon there was still {process}" for process in left]

    async def stop_daemon(self) -> None:
        """Stop the daemon in order, and see that it leaves nothing behind."""
        assert self._daemon is not None
        self.signal_daemon(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            status = await self._daemon.wait()
        if status != 0:
            self.problems.append(f"the daemon's orderly stop ended with status {status}")
        self.tell("the daemon stopped in order")
        left = wait_until_gone(Marked(self.marker), 0.0)
        self.problems += [f"after the daemon's orderly stop there was still {process}" for process in left]

    async def end(self) -> None:
        """Leave no process of the round behind, however it ended."""
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.kill()
            await self._daemon.wait()
        Marked(self.marker).kill()

    def note_unwanted_end(self) -> bool:
        """Whether the daemon ended though nobody had it end; a problem, noted."""
        if self.daemon_lives:
            return False
        assert self._daemon is not None
        self.problems.append(f"the daemon ended by itself with status {self._daemon.returncode}")
        return True

    # -- its family

    def children(self, module: str) -> list[int]:
        """Pids of the daemon's processes that run a module of cnnbo, in the order of their birth."""
        found = descendants(self.daemon_pid) if self.daemon_lives else []
        return sorted(pid for pid in found if f"-m cnnbo.daemon.{module}" in (command_line(pid, 1000) or ""))

    def trials(self) -> list[int]:
        """Pids of the trials' commands."""
        commands = [pids[0] for runner in self.children("runner") if (pids := descendants(runner))]
        return [pid for pid in commands if str(_TRAINING) in (command_line(pid, 1000) or "")]

    # -- talking to it

    async def cnnbo(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run `cnnbo …` to its end; returns its exit status and what it printed to stdout."""
        self._calls += 1
        name = f"cli-{self._calls:03}-{arguments[0]}"
        child = await asyncio.create_subprocess_exec(
            *(str(CNNBO), *arguments),
            env=self.environment() | environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_S):
            output, errors = await child.communicate()
        (self.folder / "outputs" / name).write_bytes(output + errors)
        assert child.returncode is not None
        self.tell(f"cnnbo {' '.join(arguments)} ended with status {child.returncode}")
        return child.returncode, output.decode()

    async def cnnbo_json(self, *arguments: str) -> Any:
        """What `cnnbo … --json` prints."""
        status, output = await self.cnnbo(*arguments, "--json")
        if status != 0:
            raise RuntimeError(f"cnnbo {' '.join(arguments)} ended with status {status}; see outputs/")
        return json.loads(output)

    async def ask(self, verb: str, **args: object) -> Any:
        """What the daemon answers on its control socket; None if it is away or refuses."""
        with suppress(CnnboError, OSError):
            async with asyncio.timeout(PATIENCE_S):
                return await request(self.state, verb, **args)
        return None

    async def submit(self, study: StudyPlan, **changes: Any) -> int:
        """Write a study's file, with changes, and submit it; returns the exit status."""
        path = self.folder / f"{study.name}.toml"
        path.write_text(self._study_file(study, **changes))
        reports = "pattern" if study.pattern else "file"
        status, _ = await self.cnnbo(
            "submit", str(path), NEMESIS_BEHAVIOURS=" ".join(study.behaviours), NEMESIS_REPORTS=reports
        )
        return status

    def _study_file(self, study: StudyPlan, evaluations: int | None = None, cost: float | None = None) -> str:
        command = ["python", "-S", str(_TRAINING), self.marker, str(self.witness), "{args}"]
        cost = study.cost if cost is None else cost
        lines = [
            f'name = "{study.name}"',
            f"command = {json.dumps(command)}",
            f"evaluations = {evaluations or study.evaluations}",
            f'optimizer = "{study.optimizer}"',
            "initial = 3",
            'metric = "val"',
            "[space]",
            'x = { type = "float", low = 0, high = 1 }',
            "[trial]",
            f'python = "{sys.executable}"',
            "[budget]",
            f"price_per_device_hour = {_PRICE}",
            *([f"cost = {cost!r}"] if cost is not None else []),
            *(["[report]", f"pattern = '{PATTERN}'"] if study.pattern else []),
            *(["[devices]", f"max = {study.max_devices}"] if study.max_devices is not None else []),
        ]
        return "\n".join(lines) + "\n"

    # -- moments

    def rows(self) -> int:
        """How many events are journalled."""
        return self._count("SELECT coalesce(max(seq), 0) FROM event")

    def _count(self, query: str) -> int:
        with suppress(sqlite3.Error), closing(_read_only(self.state / JOURNAL_NAME)) as journal:
            return int(journal.execute(query).fetchone()[0])
        return 0

    async def reach(self, row: int) -> None:
        """Wait until so many events are journalled, or until it is plain that no more will be."""
        newest, since = self.rows(), time.monotonic()
        while newest < row and time.monotonic() - since < self._patience_s():
            await asyncio.sleep(0.01)  # SQLite tells no other process of a commit
            if (now := self.rows()) != newest:
                newest, since = now, time.monotonic()

    def _patience_s(self) -> float:
        """How long the journal may stand still before nothing more is expected of it."""
        if self._count("SELECT count(*) FROM study WHERE state = 'running'"):
            return LONG_STANDSTILL_S
        return STANDSTILL_S if self._count("SELECT count(*) FROM study WHERE state = 'paused'") else 0.0


@asynccontextmanager
async def world_of(folder: Path, plan: Plan, nvml_library: Path) -> AsyncIterator[World]:
    """A world for the time of the block; nothing of it is left afterwards but its files."""
    world = World(folder, plan, nvml_library)
    is_mounted = plan.has("fill_disk") and _mount(world.state)
    try:
        if world.broker is not None:
            await world.broker.start()
        yield world
    finally:
        await world.end()
        if world.broker is not None:
            await world.broker.stop()
        if is_mounted:
            _unmount(world.state)


def _mount(state: Path) -> bool:
    if os.geteuid() != 0:
        return False
    options = ("-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "nemesis")
    return subprocess.run(["mount", *options, state], capture_output=True, check=False).returncode == 0


def _unmount(state: Path) -> None:
    """Unmount the small disk, its files kept where it was mounted."""
    kept = state.with_name("state-kept")
    for extra in ("filler", "reserve", "control.sock"):
        (state / extra).unlink(missing_ok=True)
    shutil.copytree(state, kept, symlinks=True)
    subprocess.run(["umount", "--lazy", state], check=True)
    state.rmdir()
    kept.rename(state)


class _Readiness:
    """The socket on which the daemon says READY=1, as it does to systemd."""

    def __init__(self) -> None:
        self.address = f"@nemesis-{secrets.token_hex(8)}"

    def __enter__(self) -> "_Readiness":
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + self.address[1:])
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    async def wait(self) -> None:
        while b"READY=1" not in await asyncio.get_running_loop().sock_recv(self._socket, 4096):
            pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)


def outputs_of(folder: Path, state: Path) -> Mapping[str, str]:
    """What the round's processes printed, by file: daemon and command line, runners, proposer, broker."""
    paths = [*(folder / "outputs").iterdir(), *state.glob("*.log"), *state.glob("studies/*/trials/*/*/runner.log")]
    return {str(path.relative_to(folder)): path.read_text(errors="replace") for path in paths}
