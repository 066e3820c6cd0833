"""Tries devices as a trial would use them: the real trial runner, its lease, its environment, and a small program."""

import asyncio
import json
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.devices.base import Device
from cnnbo.daemon.executors.base import ExitEvidence, Launch
from cnnbo.daemon.executors.local import LocalExecutor
from cnnbo.daemon.launch import pinned_environment
from cnnbo.daemon.lease import Lease, lease_path

LIMIT_S: Final = 120.0
"""Importing TensorFlow takes seconds, from a cold network disk a minute, and from PTX it may compile for longer."""

_MARK: Final = '{"cnnbo_probe"'
_LOG_PREFIX: Final = re.compile(r"[0-9-]+ [0-9:.]+: [A-Z] \S+\] ")
"""Of TensorFlow's own messages: when, how bad, which line of its source."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library that trains, as an interpreter has it.

    Attributes:
        name: TensorFlow or PyTorch.
        package: what it is imported as.
        version: None where it couldn't even be imported.
        cuda: the CUDA it was built with; None = it was built without.
        kernels: compute capabilities it was built for, like `sm_80`.
        gpus: how many devices it saw.
        computes: whether it multiplied two matrices.
        error: why it could not.
    """

    name: str
    package: str
    version: str | None = None
    cuda: str | None = None
    kernels: tuple[str, ...] = ()
    gpus: int = 0
    computes: bool = False
    error: str | None = None

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Library":
        """The library of an object that the probe printed."""
        return cls(
            told["name"],
            told["package"],
            told.get("version"),
            told.get("cuda"),
            tuple(told.get("kernels", ())),
            told.get("gpus", 0),
            "product" in told,
            told.get("error"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Trace:
    """What came of trying a device.

    Attributes:
        device: which one; None = no device was to be seen by the process.
        evidence: how the process ended.
        libraries: what it found; None where it didn't get that far.
        last_line: the last that it printed otherwise; empty = nothing.
    """

    device: Device | None
    evidence: ExitEvidence
    libraries: tuple[Library, ...] | None
    last_line: str = ""


def interpreter(scope: Scope) -> str | None:
    """Which Python the trials run in; None where a command starts a program of which that isn't known."""
    if not scope.runs_command or scope.study is None:
        return sys.executable
    return scope.study.origin.python if scope.study.command[0] in ("python", "python3") else None


def try_devices(scope: Scope, python: str, devices: Sequence[Device | None]) -> list[Trace]:
    """Try devices side by side, each at most `LIMIT_S` seconds.

    Args:
        scope: whose settings and environment the process gets.
        python: runs the probe.
        devices: None = a process that sees no device.
    """

    async def all_of_them() -> list[Trace]:
        return await asyncio.gather(*(_try(scope, python, device) for device in devices))

    return asyncio.run(all_of_them())


async def _try(scope: Scope, python: str, device: Device | None) -> Trace:
    lease = _lease(scope, device)
    is_new = lease is not None and not lease.exists()
    with tempfile.TemporaryDirectory(prefix="cnnbo-doctor-") as folder:
        launch = _launch(scope, python, device, Path(folder), lease)
        try:
            evidence = await LocalExecutor().run(launch, lambda progress: None)
        except OSError as error:  # not even the runner could be started
            evidence = ExitEvidence(stopped_by="runner", message=f"{error.filename or 'a runner'}: {error.strerror}")
        lines = _lines(Path(folder) / "log")
    if is_new and lease is not None:
        _remove(lease)
    told = [json.loads(line)["cnnbo_probe"] for line in lines if line.startswith(_MARK)]
    libraries = tuple(map(Library.of, told[-1])) if told else None
    rest = [line for line in lines if line.strip() and not line.startswith(_MARK)]
    return Trace(device, evidence, libraries, _LOG_PREFIX.sub("", rest[-1]).strip() if rest else "")


def _lease(scope: Scope, device: Device | None) -> Path | None:
    """The device's lease; where its folder is missing, nobody holds any, and a daemon will make it."""
    folder = scope.settings.lease_dir
    return lease_path(folder, device.uuid) if device is not None and folder.is_dir() else None


def _remove(lease: Path) -> None:
    """Take away the file that the runner made, unless somebody uses it meanwhile."""
    if (held := Lease.acquire(lease)) is not None:
        with held:
            lease.unlink(missing_ok=True)


def _launch(scope: Scope, python: str, device: Device | None, folder: Path, lease: Path | None) -> Launch:
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    pinning = hidden if device is None else device.environment
    is_command = scope.study is not None and scope.runs_command
    environment = scope.study.origin.environment if is_command and scope.study is not None else scope.environ
    return Launch(
        key="doctor",
        token=secrets.token_hex(16),
        # As text: a folder of ours on the module path could hide modules of theirs.
        command=(python, "-c", Path(__file__).with_name("probe.py").read_text(encoding="utf-8")),
        environment=pinned_environment(environment, pinning, is_builtin=not is_command),
        cwd=str(folder),
        directory=folder,
        lease=lease,
        cores=() if device is None else device.cores,
        timeout_s=LIMIT_S,
    )


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()
    except OSError:  # nothing was started
        return []
