"""The trial runner: one small process around one attempt at a trial, `python -P -m cnnbo.daemon.runner`.

What it promises, whatever the command does and whoever dies:

- no process of the attempt outlives it: not one that left the session, not one that forked itself away;
- if the daemon dies, everything below the runner is killed at once; if the runner dies, the command is, and the
  executor sweeps what is left by its token;
- the device's lease is held from before the command starts until the last of its processes is gone;
- how it ended stands in `exit.json`, complete or not at all, before the daemon is told.

Standard input is the lifeline. Its first line is the `Launch` as JSON; each later line may be `{"stop": grace_s}`; its
end means that the daemon died. Standard output carries JSON lines: `{"started": {"pid", "start_time"}}`,
`{"progress": {…}}` and last `{"exit": {…}}`, an `ExitEvidence`. Standard error is for what should never happen: a
traceback of the runner.

One thread, one selector, no await: nothing to lock, and fork is safe. Standard library only: it must start at once and
stay small beside a training process.
"""

import ctypes
import fcntl
import json
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from cnnbo.daemon import processes
from cnnbo.daemon.cgroup import oom_kills
from cnnbo.daemon.executors.base import ExitEvidence, Launch, Progress
from cnnbo.daemon.lease import Lease
from cnnbo.daemon.streams import PROGRESS_LINE_LIMIT, Lines, Log, ValueFinder, merge_progress, parse_progress

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36

_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEASE_PATIENCE_S = 2.0  # longer than a dying predecessor, or the device loop's question, holds a lease
_MEMORY_PERIOD_S = 0.5
_MEMORY_SHARE = 20  # memory is looked at so seldom that it takes less than one part in twenty of a core
_PROGRESS_PERIOD_S = 0.1
_READ_SIZE = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)  # loaded now: between fork and exec is no time for it


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


# --- what is said to the daemon, and heard from it ------------------------------------------------------------------


class Reporter:
    """JSON lines to the daemon, which may be dead or too busy to read: neither may ever hold the runner up."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._backlog = b""

    @property
    def is_idle(self) -> bool:
        """Whether everything sent has been taken; while it is not, progress waits and is replaced by newer."""
        return not self._backlog

    def send(self, message: Mapping[str, object]) -> None:
        """Queue a message and write as much as the pipe takes."""
        self._backlog += json.dumps(message).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write as much of the backlog as the pipe takes."""
        try:
            while self._backlog:
                self._backlog = self._backlog[os.write(self._descriptor, self._backlog) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody is there to read, now or ever
            self._backlog = b""

    def close(self) -> None:
        """Write the rest, waiting for a reader that lives. Only called when every other duty is done."""
        os.set_blocking(self._descriptor, True)
        self.flush()


class Control:
    """The daemon's voice and its pulse.

    Attributes:
        is_open: whether the daemon lives.
        kill_at: on the monotonic clock, when a requested stop runs out of patience; infinite if none was requested.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_open = True
        self.kill_at = math.inf
        self._buffer = b""

    def read_launch(self) -> Launch | None:
        """Wait for the first line; None if the daemon died before it was complete."""
        while b"\n" not in self._buffer:
            data = os.read(self.descriptor, _READ_SIZE)
            if not data:
                return None
            self._buffer += data
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = b""
        self._take_in(rest)  # a stop may have come on the launch's heels
        return Launch.from_dict(json.loads(line))

    def wait(self, timeout_s: float) -> None:
        """Give the daemon some time to say something."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.descriptor, selectors.EVENT_READ)
            if selector.select(timeout_s):
                self.receive()

    def receive(self) -> None:
        """Take in what has arrived."""
        data = os.read(self.descriptor, _READ_SIZE)
        self.is_open = bool(data)
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            # A line we don't understand comes from a newer daemon: better to go on training than to give up.
            with suppress(ValueError, TypeError, KeyError, OverflowError):
                grace_s = float(json.loads(line)["stop"])
                if math.isfinite(grace_s):
                    self.kill_at = min(self.kill_at, time.monotonic() + grace_s)

    @property
    def wants_end(self) -> bool:
        """Whether the daemon died or asked to stop."""
        return not self.is_open or self.kill_at < math.inf


class ProgressFeed:
    """Passes progress on, ten times a second at most; what comes in between is merged, and the last is never lost."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lines = Lines(PROGRESS_LINE_LIMIT)
        self._pending: Progress | None = None
        self._tried_at = -math.inf

    @property
    def due_at(self) -> float:
        """When, on the monotonic clock, there is something to pass on; infinite if there is nothing."""
        return math.inf if self._pending is None else self._tried_at + _PROGRESS_PERIOD_S

    def feed(self, data: bytes) -> None:
        """Take in what the command wrote to its progress descriptor."""
        for line in self._lines.feed(data):
            if progress := parse_progress(line):
                self.offer(progress)

    def offer(self, progress: Progress) -> None:
        """Take in one report."""
        self._pending = progress if self._pending is None else merge_progress(self._pending, progress)

    def pass_on(self, now: float) -> None:
        """Send what is pending if it is time, and the daemon has taken the report before."""
        if self._pending is not None and now >= self.due_at:
            self._tried_at = now
            if self._reporter.is_idle:
                self._send(self._pending)

    def finish(self) -> None:
        """Send what is pending, without any patience left."""
        self.feed(b"\n")
        if self._pending is not None:
            self._send(self._pending)

    def _send(self, progress: Progress) -> None:
        self._reporter.send({"progress": asdict(progress)})
        self._pending = None


# --- the command ----------------------------------------------------------------------------------------------------


class SpawnError(Exception):
    """The command could not be executed; the text is a sentence for the user."""


def _first_lines(runner: int, token: str) -> None:
    """Run in the child between fork and exec. Safe: the runner has no other thread that could hold a lock."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner:  # it died before the line above took effect, and nobody would tell us any more
        os.kill(os.getpid(), signal.SIGKILL)
    processes.mark_self(token)
    for signum in _IGNORED_SIGNALS:  # "ignored" survives exec, and would make the command deaf to a stop
        signal.signal(signum, signal.SIG_DFL)


def _spawn(launch: Launch, output: int, progress: int) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, holding nothing of ours but the two pipes."""
    runner = os.getpid()
    own = {processes.TOKEN_VARIABLE: launch.token, "CNNBO_PROGRESS_FD": str(progress)}
    try:
        if launch.cores:
            os.sched_setaffinity(0, launch.cores)  # inherited; what we do for the trial is charged to its cores too
        return subprocess.Popen(
            launch.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**launch.environment, **own},
            cwd=launch.cwd,
            start_new_session=True,
            pass_fds=(progress,),
            preexec_fn=lambda: _first_lines(runner, launch.token),
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise SpawnError(_why_not_started(launch, error)) from error


def _why_not_started(launch: Launch, error: Exception) -> str:
    program = launch.command[0] if launch.command else ""
    if not os.access(launch.cwd, os.X_OK) or not Path(launch.cwd).is_dir():
        return f"{launch.cwd}: can't be entered; submit the study from a working directory that exists."
    match error:
        case FileNotFoundError() if "/" in program and Path(program).exists():
            return f"{program}: the interpreter that its first line names doesn't exist; correct that line."
        case FileNotFoundError():
            return f"{program}: no such program; give its full path, or check the study's command and trial.python."
        case PermissionError():
            return f"{program}: may not be executed; make it executable (chmod +x) or put its interpreter in front."
        case OSError(errno=8):  # ENOEXEC
            return f"{program}: neither a program nor a script with a #! line; put its interpreter in front."
        case _:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return f"{program}: the command could not be started ({reason}); check the study's command and devices."


class Supervisor:
    """Watches one command from its first process to its last."""

    def __init__(self, launch: Launch, control: Control, reporter: Reporter) -> None:
        """Raises `re.error` for a pattern that isn't one, OSError where `log` can't be made."""
        self._launch = launch
        self._control = control
        self._reporter = reporter
        self._log = Log(launch.directory / "log", launch.log_limit_mib)
        self._finder: ValueFinder | None = None
        if launch.pattern is not None:
            self._finder = ValueFinder(launch.pattern, launch.pattern_use, launch.maximize)
        self._feed = ProgressFeed(reporter)
        self._selector = selectors.DefaultSelector()
        self._command: subprocess.Popen[bytes] | None = None
        self._status: int | None = None  # as waitpid gives it, once the command has ended
        self._stopped_by: str | None = None
        self._message = ""
        self._peak_mib = 0.0
        self._oom_kills_before = oom_kills()
        self._look_at_memory_at = 0.0
        self._timeout_at = math.inf
        self._started_at = 0.0
        self._ended_at = 0.0

    def run(self) -> ExitEvidence:
        """Run the command to its end, and everything it left behind.

        Raises:
            SpawnError: it could not be executed.
        """
        with ExitStack() as pipes:
            try:
                output, progress = self._start(pipes)
                while self._status is None:
                    self._wait()
                    if self._status is None:  # else it ended by itself, whatever else came at the same moment
                        self._enforce(time.monotonic())
            finally:  # an error of ours must not leave them alone either
                self._kill_all()
            self._drain(output, self._take_output)
            self._drain(progress, self._feed.feed)
        self._finish_streams()
        return self._evidence(self._status)

    # -- start

    def _start(self, pipes: ExitStack) -> tuple[int, int]:
        """Start the command; returns our ends of its output and progress pipes."""
        output, output_theirs = _pipe(pipes)
        progress, progress_theirs = _pipe(pipes)
        self._command = _spawn(self._launch, output_theirs, progress_theirs)
        self._started_at = time.monotonic()
        if self._launch.timeout_s is not None:
            self._timeout_at = self._started_at + self._launch.timeout_s
        pidfd = os.pidfd_open(self._command.pid)
        pipes.callback(os.close, pidfd)
        os.close(output_theirs)
        os.close(progress_theirs)
        for descriptor, react in (
            (self._control.descriptor, self._control.receive),
            (output, lambda: self._take(output, self._take_output)),
            (progress, lambda: self._take(progress, self._feed.feed)),
            (pidfd, self._reap),
        ):
            self._selector.register(descriptor, selectors.EVENT_READ, react)
        pid = self._command.pid
        self._reporter.send({"started": {"pid": pid, "start_time": processes.start_time(pid)}})
        return output, progress

    # -- the loop

    def _wait(self) -> None:
        """Sleep until something happens or is due, and react to it."""
        due_at = min(self._timeout_at, self._control.kill_at, self._look_at_memory_at, self._feed.due_at)
        for key, _ in self._selector.select(max(0.0, due_at - time.monotonic())):
            key.data()

    def _enforce(self, now: float) -> None:
        """Everything that is due at `now`."""
        self._reporter.flush()
        self._feed.pass_on(now)
        if not self._control.is_open:
            self._end("lifeline", "")
        elif now >= self._control.kill_at:
            self._end("request", "")
        elif now >= self._timeout_at:
            self._end("timeout", f"The trial took longer than its timeout of {self._launch.timeout_s:g} s.")
        elif self._control.wants_end and self._stopped_by is None:
            self._ask_to_end()
        elif now >= self._look_at_memory_at:
            self._check_memory(now)

    def _ask_to_end(self) -> None:
        self._stopped_by = "request"
        if self._command is not None:  # nor is it reaped yet, so the pid still names its group
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._command.pid, signal.SIGTERM)

    def _end(self, stopped_by: str, message: str) -> None:
        """Kill the tree; the first reason to end it is the one that counts."""
        if self._stopped_by is None:
            self._stopped_by, self._message = stopped_by, message
        self._kill_all()

    def _check_memory(self, now: float) -> None:
        self._reap()  # orphans that the command has left us and that ended since
        pids = processes.descendants(os.getpid())
        used_mib = processes.resident_mib(pids)
        # An upper bound that brings nothing new needs no closer look.
        if used_mib > self._peak_mib and len(pids) > 1:
            used_mib = processes.proportional_mib(pids)
        self._peak_mib = max(self._peak_mib, used_mib)
        limit_mib = self._launch.memory_mib
        if limit_mib is not None and used_mib > limit_mib:
            message = f"The trial used {used_mib:.0f} MiB of host memory, and its limit is {limit_mib:.0f} MiB."
            self._end("memory", message)
        cost_s = time.monotonic() - now
        self._look_at_memory_at = now + max(_MEMORY_PERIOD_S, _MEMORY_SHARE * cost_s)

    def _reap(self) -> None:
        """Collect dead children, adopted ones too, and note how the command ended."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                pid, status = ended
                if self._command is not None and pid == self._command.pid:
                    self._status, self._ended_at = status, time.monotonic()
                    self._command.returncode = os.waitstatus_to_exitcode(status)  # else Popen waits for it once more

    def _kill_all(self) -> None:
        """SIGKILL every descendant until none is left; being their subreaper, we lose none however it forked.

        However long it takes: one that hangs in a driver, or that changed its user and may not be killed by us, still
        holds the device, so neither the lease nor our word that it is over can be given before.
        """
        pause_s = 0.001
        while victims := processes.descendants(os.getpid()):
            for pid in victims:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(pause_s)
            pause_s = min(0.5, pause_s * 2)
            self._reap()

    # -- streams

    def _take(self, descriptor: int, use: Callable[[bytes], None]) -> None:
        data = os.read(descriptor, _READ_SIZE)
        if data:
            use(data)
        else:
            self._selector.unregister(descriptor)  # every writer has closed it, the command may go on

    def _take_output(self, data: bytes) -> None:
        self._log.write(data)
        if self._finder is not None:
            self._show(self._finder.feed(data))

    def _show(self, values: list[float]) -> None:
        for value in filter(math.isfinite, values[-1:]):
            self._feed.offer(Progress(metrics={self._launch.metric: value}))

    def _drain(self, descriptor: int, use: Callable[[bytes], None]) -> None:
        """Read what the dead left in a pipe; not to its end: a writer outside of the tree may hold it open for ever."""
        os.set_blocking(descriptor, False)
        with suppress(BlockingIOError):
            for _ in range(64):
                data = os.read(descriptor, _READ_SIZE)
                if not data:
                    break
                use(data)

    def _finish_streams(self) -> None:
        if self._finder is not None:
            self._show(self._finder.finish())
        self._feed.finish()

    # -- the end

    def _evidence(self, status: int) -> ExitEvidence:
        finder = self._finder
        killed, killed_before = oom_kills(), self._oom_kills_before
        return ExitEvidence(
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            stopped_by=self._stopped_by,
            message=self._message or (finder.problem if finder else ""),
            elapsed_s=round(self._ended_at - self._started_at, 3),
            peak_memory_mib=round(self._peak_mib, 1),
            oom_kills=None if killed is None or killed_before is None else killed - killed_before,
            matches=finder.matches if finder else 0,
            value=finder.value if finder else None,
        )


def _pipe(closes: ExitStack) -> tuple[int, int]:
    """A pipe as (read end, write end); the read end is closed with `closes`, the write end by whoever hands it on."""
    ours, theirs = os.pipe()
    closes.callback(os.close, ours)
    with suppress(OSError):  # the user's share of big pipes is used up; it works with a small one too
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _READ_SIZE)
    return ours, theirs


# --- one attempt ----------------------------------------------------------------------------------------------------


def _acquire(path: Path, control: Control) -> Lease | None:
    """Take the lease, waiting a moment for a holder that is just leaving."""
    deadline = time.monotonic() + _LEASE_PATIENCE_S
    while (lease := Lease.acquire(path)) is None and time.monotonic() < deadline and not control.wants_end:
        control.wait(0.05)
    return lease


def _attempt(launch: Launch, control: Control, reporter: Reporter, held: ExitStack) -> ExitEvidence:
    """Everything from the lease to the last process; the lease stays in `held`."""
    if launch.lease is not None:
        try:
            lease = _acquire(launch.lease, control)
        except OSError as error:
            message = f"{launch.lease}: can't be opened ({error.strerror}); set lease_dir to a folder all can write."
            return ExitEvidence(stopped_by="lease", message=message)
        if lease is None and not control.wants_end:
            message = f"{launch.lease}: the device is in use by another instance on this box; the trial waits for it."
            return ExitEvidence(stopped_by="lease", message=message)
        if lease is not None:
            held.enter_context(lease)
    control.wait(0)  # not a single process is started for a daemon that has gone meanwhile
    if control.wants_end:
        return ExitEvidence(stopped_by="request" if control.is_open else "lifeline")
    try:
        supervisor = Supervisor(launch, control, reporter)
    except re.error as error:
        message = f"report.pattern {launch.pattern!r} is no regular expression ({error}); correct it."
        return ExitEvidence(stopped_by="spawn", message=message)
    except OSError as error:
        message = f"{launch.directory}: the log can't be written there ({error.strerror}); check the state folder."
        return ExitEvidence(stopped_by="spawn", message=message)
    try:
        return supervisor.run()
    except SpawnError as error:
        return ExitEvidence(stopped_by="spawn", message=str(error))


def _write_evidence(directory: Path, evidence: ExitEvidence) -> None:
    """Write `exit.json`: complete and on the disk, or not at all."""
    temporary = directory / "exit.json.tmp"
    with temporary.open("w") as file:
        json.dump(evidence.to_dict(), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / "exit.json")
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main() -> int:
    """Run one attempt, as told on standard input."""
    for signum in _IGNORED_SIGNALS:  # only the daemon ends us, by its words or by its death
        signal.signal(signum, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    control = Control(sys.stdin.fileno())
    launch = control.read_launch()
    if launch is None:
        return 0
    reporter = Reporter(sys.stdout.fileno())
    with ExitStack() as held:  # the lease, released last of all
        evidence = _attempt(launch, control, reporter, held)
        try:
            _write_evidence(launch.directory, evidence)
        except OSError as error:  # a full disk; the daemon is still told
            words = f"{launch.directory / 'exit.json'}: not written ({error.strerror}).\n"
            with suppress(OSError):  # runner.log lies on that disk, too; unbuffered, so that nothing fails at exit
                os.write(sys.stderr.fileno(), words.encode())
        reporter.send({"exit": evidence.to_dict()})
        reporter.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
