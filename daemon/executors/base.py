"""The port behind which one attempt at a trial is run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, get_args


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to run one attempt at a trial, plain data.

    Attributes:
        key: identifies the attempt in this state folder: `<study>/<trial>/<attempt>`.
        token: random text put into the environment of every process of the attempt as `CNNBO_TOKEN`.
        command: program and arguments, ready to be executed.
        environment: the whole environment of the command.
        cwd: its working directory.
        directory: folder of the attempt; holds config.json, and receives result.json, exit.json and log.
        lease: file that is flocked while anything of the attempt lives; None = no lease.
        cores: CPU cores it is confined to; empty = all.
        timeout_s: wall-clock limit in seconds; None = none.
        memory_mib: host-memory limit of the whole process tree in MiB; None = none.
        log_limit_mib: how much of the output is kept, in MiB; the newest is.
        pattern: regular expression with one group that finds the value in the output; None = the result file tells.
        pattern_use: which match counts: `last`, `best` or `mean`.
        metric: name of the value; under it a match of `pattern` is reported as progress.
        maximize: whether a higher value is better, for `best`.
    """

    key: str
    token: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str
    directory: Path
    lease: Path | None = None
    cores: tuple[int, ...] = ()
    timeout_s: float | None = None
    memory_mib: float | None = None
    log_limit_mib: float = 50.0
    pattern: str | None = None
    pattern_use: str = "last"
    metric: str = "value"
    maximize: bool = True

    def to_dict(self) -> dict[str, object]:
        """JSON data, from which `from_dict` makes an equal launch."""
        data = asdict(self)
        data["directory"] = str(self.directory)
        data["lease"] = None if self.lease is None else str(self.lease)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The launch that `to_dict` wrote, JSON arrays read as tuples."""
        lease = data["lease"]
        paths = {"directory": Path(data["directory"]), "lease": None if lease is None else Path(lease)}
        return cls(**{**data, **paths, "command": tuple(data["command"]), "cores": tuple(data["cores"])})


Phase = Literal["starting", "loading", "compiling", "training", "evaluating"]
"""What a trial is doing."""

PHASES: Final[tuple[Phase, ...]] = get_args(Phase)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running trial has come; every figure is None or missing where the trial doesn't tell.

    Attributes:
        step, steps: steps done, and steps in all.
        epoch, epochs: epochs begun, and epochs in all.
        metrics: metric names with finite numbers.
        phase: what it says that it is doing.
    """

    step: int | None = None
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    phase: Phase | None = None


@dataclass(frozen=True, slots=True)
class ExitEvidence:
    """How the processes of an attempt came to their end: facts, no verdict.

    Attributes:
        exit_code: exit status of the command, 0-255; None if it never started or a signal ended it.
        signal: number of the signal that ended it, or None.
        stopped_by: who ended it: `timeout`, `memory`, `request` (the daemon asked), `lifeline` (the daemon died),
            `lease` (the device was taken; the command never started), `spawn` (the command could not be executed),
            `runner` (the runner itself died); None if it ended by itself.
        message: a sentence for the user where there is one to tell.
        elapsed_s: seconds from start of the command to its end.
        peak_memory_mib: highest host memory seen of the whole tree, in MiB.
        oom_kills: processes that the kernel's out-of-memory killer ended meanwhile in the runner's memory cgroup, which
            trials side by side may share; None where there is no such cgroup.
        matches: how many times `pattern` matched.
        value: the value that `pattern` found, maybe NaN or infinite; None without a pattern or a match.
    """

    exit_code: int | None = None
    signal: int | None = None
    stopped_by: str | None = None
    message: str = ""
    elapsed_s: float = 0.0
    peak_memory_mib: float = 0.0
    oom_kills: int | None = None
    matches: int = 0
    value: float | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON data; a value that JSON has no number for is the text `nan`, `inf` or `-inf`."""
        data = asdict(self)
        if self.value is not None and not math.isfinite(self.value):
            data["value"] = str(self.value)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The evidence that `to_dict` wrote; unknown keys, from a later version, are ignored.

        Raises:
            ValueError: a figure is of another type, or `value` is no number.
        """
        known = {entry.name: _checked(entry, data[entry.name]) for entry in fields(cls) if entry.name in data}
        if isinstance(known.get("value"), str | int):
            known["value"] = _number(known["value"])
        return cls(**known)


def _checked(entry: Field[Any], value: Any) -> Any:
    # A script can write into the folder where this is read from.
    wanted = int | float if entry.type is float else str | int | float | None if entry.name == "value" else entry.type
    if isinstance(value, bool) or not isinstance(value, wanted):  # type: ignore[arg-type]
        raise ValueError(f"{entry.name} is of type {type(value).__name__}")
    return value


def _number(value: str | int) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond any float
        return math.inf if int(value) > 0 else -math.inf


class Executor(Protocol):
    """Runs attempts. All methods are called from the event loop and never block it."""

    async def run(self, launch: Launch, on_progress: Callable[[Progress], None]) -> ExitEvidence:
        """Run one attempt to its end.

        When this returns, no process of the attempt is alive, whatever it forked. If the awaiting task is cancelled,
        they are killed before `CancelledError` leaves. Never raises for anything the command does; OSError where the
        machine has no means to start it, and then nothing was.

        Args:
            launch: what to run.
            on_progress: called in the event loop with each report, at most about ten times a second.
        """

    def stop(self, key: str, grace_s: float) -> None:
        """Ask an attempt to end: SIGTERM, and after `grace_s` seconds SIGKILL for the whole tree.

        `run` then returns evidence with `stopped_by = "request"`. A second call with a shorter grace hastens it. An
        unknown key is ignored.
        """

    def sweep(self, tokens: Sequence[str]) -> int:
        """Kill what is left of attempts of an earlier life, found by their token; returns how many processes."""
