"""The trial runner as a process of its own, around real commands."""

import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.executor import make_launch

import cnnbo
from cnnbo.daemon.executors.base import ExitEvidence, Launch

PYTHON = sys.executable


class Runner:
    """A runner under way; the test plays the daemon."""

    def __init__(self, launch: Launch, *command: str) -> None:
        self.launch = launch
        self.process = subprocess.Popen(
            command or [PYTHON, "-P", "-m", "cnnbo.daemon.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.reports: list[dict[str, Any]] = []
        self.say(launch.to_dict())

    def say(self, message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def die_as_daemon(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def hear(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; progress passed over is kept in `reports`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "progress" in message:
                self.reports.append(message["progress"])
            if kind in message:
                found: dict[str, Any] = message[kind]
                return found
        raise AssertionError(f"the runner ended without a word of {kind}")

    def metrics(self) -> dict[str, float]:
        found: dict[str, float] = self.hear("progress")["metrics"]
        return found

    def end(self) -> ExitEvidence:
        """Wait for the end; what was said of it must be what was written."""
        evidence = ExitEvidence.from_dict(self.hear("exit"))
        assert self.process.wait(30) == 0
        assert repr(evidence) == repr(self.written())  # repr: NaN is not equal to itself
        return evidence

    def written(self) -> ExitEvidence:
        return ExitEvidence.from_dict(json.loads((self.launch.directory / "exit.json").read_text()))

    @property
    def log(self) -> str:
        return (self.launch.directory / "log").read_text()


Start = Callable[..., Runner]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runners; whatever the test did, none outlives it."""
    runners: list[Runner] = []

    def begin(*command: str, **changes: Any) -> Runner:
        runners.append(Runner(make_launch(tmp_path, *command, key=f"study/{len(runners)}/1", **changes)))
        return runners[-1]

    yield begin
    for runner in runners:
        with runner.process:
            runner.process.kill()


@pytest.fixture
def shell(start: Start) -> Start:
    """Starts a runner around a piece of shell."""
    return lambda script, **changes: start("sh", "-c", script, **changes)


@pytest.fixture
def python(start: Start) -> Start:
    """Starts a runner around a piece of Python."""
    return lambda script, **changes: start(PYTHON, "-I", "-S", "-c", script, **changes)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe in the command's working directory: reading it waits until the test writes to it."""
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


def ended(pidfd: int) -> bool:
    """Whether a process ends; waits for it, far longer than it should ever take."""
    return bool(select.select([pidfd], [], [], 30)[0])


# --- the plain case -------------------------------------------------------------------------------------------------


def test_it_tells_the_exit_status_and_keeps_the_output(shell: Start) -> None:
    """The two things that everybody asks after a trial."""
    runner = shell("echo out; echo err >&2; exit 3")
    started = runner.hear("started")
    evidence = runner.end()
    assert started["pid"] > 0 and started["start_time"] > 0
    assert (evidence.exit_code, evidence.signal, evidence.stopped_by) == (3, None, None)
    assert runner.log == "out\nerr\n"


def test_it_tells_the_signal(shell: Start) -> None:
    """A segmentation fault is no exit status."""
    evidence = shell("kill -SEGV $$").end()
    assert (evidence.exit_code, evidence.signal) == (None, signal.SIGSEGV)


def test_the_environment_is_exactly_the_given_one(shell: Start, start: Start) -> None:
    """A variable that slips through from the daemon makes trials differ from box to box."""
    given = {"PATH": os.environ["PATH"], "ODD": "a=b\nc"}
    runner = start("cat", "/proc/self/environ", environment=given, token="secret")
    runner.end()
    told = dict(entry.split("=", 1) for entry in runner.log.split("\0") if entry)
    assert told.pop("CNNBO_PROGRESS_FD").isdigit()
    assert told == {**given, "CNNBO_TOKEN": "secret"}


def test_the_command_inherits_nothing_else(python: Start) -> None:
    """An inherited lease would outlive the runner; an ignored SIGTERM would make the trial deaf to a stop."""
    runner = python(
        "import os, signal\n"
        "own = {0, 1, 2, int(os.environ['CNNBO_PROGRESS_FD'])}\n"
        "print({int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')} - own)\n"
        "print([signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGHUP)])\n"
        "print(os.getsid(0) == os.getpid())\n"
    )
    runner.end()
    assert runner.log == "set()\n[True, True]\nTrue\n"


def test_it_is_confined_to_its_cores(python: Start) -> None:
    """CPU slots share a box by cores."""
    core = min(os.sched_getaffinity(0))
    runner = python("import os; print(os.sched_getaffinity(0))", cores=(core,))
    runner.end()
    assert runner.log == f"{{{core}}}\n"


def test_it_loads_nothing_but_the_standard_library() -> None:
    """It starts with every trial and lives beside it: a hundred milliseconds and megabytes would be felt."""
    look = "import cnnbo.daemon.runner, sys; print({name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run(
        [PYTHON, "-P", "-S", "-c", look], env=environment_for_import(), capture_output=True, text=True
    )
    loaded = {name for name in eval(told.stdout) if not name.startswith("_")}
    assert loaded - set(sys.stdlib_module_names) == {"cnnbo"}


def environment_for_import() -> dict[str, str]:

    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(cnnbo.__file__).parent.parent)}


# --- what can't be started ------------------------------------------------------------------------------------------


def test_an_unknown_program_is_named(start: Start) -> None:
    """The commonest mistake in a study file."""
    evidence = start("no-such-program-here").end()
    assert evidence.stopped_by == "spawn"
    assert evidence.message.startswith("no-such-program-here: no such program")


def test_a_file_that_is_not_executable_says_chmod(start: Start, tmp_path: Path) -> None:
    """Whoever writes ./train.py forgets it once."""
    script = tmp_path / "train.py"
    script.write_text("#!/bin/sh\n")
    evidence = start(str(script)).end()
    assert evidence.stopped_by == "spawn"
    assert "chmod +x" in evidence.message


def test_a_script_without_interpreter_line_is_told_so(start: Start, tmp_path: Path) -> None:
    """A shell would have run it, so the user believes that it works."""
    script = tmp_path / "train"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    assert "#!" in start(str(script)).end().message


def test_a_missing_interpreter_is_not_called_a_missing_program(start: Start, tmp_path: Path) -> None:
    """The file named in the message would be there, to the user's confusion."""
    script = tmp_path / "train.py"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    assert "interpreter" in start(str(script)).end().message


def test_a_missing_working_directory_is_named(start: Start, tmp_path: Path) -> None:
    """It was deleted since the study was submitted."""
    evidence = start("true", cwd=str(tmp_path / "gone")).end()
    assert evidence.stopped_by == "spawn"
    assert evidence.message.startswith(str(tmp_path / "gone"))


def test_a_broken_pattern_is_named(start: Start) -> None:
    """Checked at submit; a journal of another version may still hold one."""
    evidence = start("true", pattern="(").end()
    assert (evidence.stopped_by, "report.pattern" in evidence.message) == ("spawn", True)


def test_no_launch_no_command() -> None:
    """The daemon died while it started the runner."""
    told = subprocess.run([PYTHON, "-P", "-m", "cnnbo.daemon.runner"], input=b'{"key": "hal', capture_output=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_nothing_starts_for_a_daemon_that_is_gone_already(tmp_path: Path) -> None:
    """It died right after it had asked for the trial."""
    launch = make_launch(tmp_path, "touch", "started")
    ours, theirs = os.pipe()
    os.write(theirs, json.dumps(launch.to_dict()).encode() + b"\n")
    os.close(theirs)
    told = subprocess.run([PYTHON, "-P", "-m", "cnnbo.daemon.runner"], stdin=ours, capture_output=True, check=True)
    os.close(ours)
    assert json.loads(told.stdout)["exit"]["stopped_by"] == "lifeline"
    assert not (tmp_path / "started").exists()


# --- the lease ------------------------------------------------------------------------------------------------------


def test_the_lease_is_held_while_the_command_runs(shell: Start, tmp_path: Path) -> None:
    """Two trials on one device spoil both."""
    lease = tmp_path / "lease"
    runner = shell("""echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; exec sleep 1000""", lease=lease)
    runner.hear("progress")
    with lease.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        runner.say({"stop": 0})
        runner.end()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lease_held_elsewhere_means_that_nothing_starts(shell: Start, tmp_path: Path) -> None:
    """Another user's daemon on the same box got the device first."""
    lease = tmp_path / "lease"
    with lease.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        evidence = shell(f"touch {tmp_path}/started", lease=lease).end()
    assert (evidence.stopped_by, evidence.exit_code) == ("lease", None)
    assert str(lease) in evidence.message
    assert not (tmp_path / "started").exists()


def test_a_daemon_that_dies_meanwhile_ends_the_wait_for_the_lease(shell: Start, tmp_path: Path) -> None:
    """Nothing may start for a daemon that is gone."""
    lease = tmp_path / "lease"
    with lease.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        runner = shell(f"touch {tmp_path}/started", lease=lease)
        runner.die_as_daemon()
        assert runner.process.wait(30) == 0
    assert runner.written().stopped_by == "lifeline"
    assert not (tmp_path / "started").exists()


# --- nobody survives ------------------------------------------------------------------------------------------------

# A child in a session of its own, and a daemon that forked twice; both deaf to SIGTERM. Reports their pids.
ESCAPED = """
import json, os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def settle(name):
    line = json.dumps({"metrics": {name: os.getpid()}}) + "\\n"
    os.write(int(os.environ["CNNBO_PROGRESS_FD"]), line.encode())
    time.sleep(1000)
if os.fork() == 0:
    os.setsid()
    settle("session")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        settle("daemon")
    os._exit(0)
"""


def escaped(runner: Runner) -> list[int]:
    """Descriptors that tell the end of both escaped processes, once they are there."""
    pids: dict[str, float] = {}
    while len(pids) < 2:
        pids |= runner.metrics()
    return [os.pidfd_open(int(pid)) for pid in pids.values()]


def test_the_end_of_the_command_is_the_end_of_all(python: Start, gate: Path) -> None:
    """A data loader left behind would hold the device's memory for days."""
    runner = python(ESCAPED + "open('gate').read()")
    pidfds = escaped(runner)
    gate.write_text("")
    assert runner.end().exit_code == 0
    assert all(select.select([pidfd], [], [], 0)[0] for pidfd in pidfds)


def test_the_death_of_the_daemon_is_the_end_of_all(python: Start) -> None:
    """The promise after kill -9: no trial process left."""
    runner = python(ESCAPED + "signal.pause()")
    pidfds = escaped(runner)
    runner.die_as_daemon()
    assert all(ended(pidfd) for pidfd in pidfds)
    assert runner.process.wait(30) == 0
    assert runner.written().stopped_by == "lifeline"


def test_the_death_of_the_runner_is_the_end_of_the_command(shell: Start) -> None:
    """Even the out-of-memory killer must not make a device run two trials."""
    runner = shell("exec sleep 1000")
    pidfd = os.pidfd_open(runner.hear("started")["pid"])
    runner.process.kill()
    assert ended(pidfd)


def test_signals_do_not_end_the_runner(shell: Start) -> None:
    """A Ctrl-C in the terminal, a hang-up, a careless killall: only the daemon ends a trial."""
    runner = shell("exec sleep 1000")
    runner.hear("started")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        runner.process.send_signal(signum)
    runner.say({"stop": 30})
    evidence = runner.end()
    assert (evidence.stopped_by, evidence.signal) == ("request", signal.SIGTERM)


# --- limits and stops -----------------------------------------------------------------------------------------------


def test_a_timeout_ends_all(python: Start) -> None:
    """A trial that hangs must not hold its device for ever, nor may what it forked."""
    runner = python(ESCAPED + "signal.pause()", timeout_s=2.0)
    pidfds = escaped(runner)
    evidence = runner.end()
    assert (evidence.stopped_by, evidence.signal) == ("timeout", signal.SIGKILL)
    assert evidence.elapsed_s >= 2.0
    assert "2 s" in evidence.message
    assert all(select.select([pidfd], [], [], 0)[0] for pidfd in pidfds)


def test_the_memory_limit_counts_the_whole_tree(python: Start) -> None:
    """Two data loaders of 40 MiB are 80, even if each is below the limit."""
    script = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        held = bytearray(b"x" * (40 << 20))
        time.sleep(1000)
time.sleep(1000)
"""
    evidence = python(script, memory_mib=70.0).end()
    assert evidence.stopped_by == "memory"
    assert evidence.peak_memory_mib > 70
    assert "70 MiB" in evidence.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a memory cgroup's files of our making")
def test_a_kill_for_memory_in_our_cgroup_is_noted(tmp_path: Path) -> None:
    """The kernel kills without a word; only the cgroup's count tells. A real runner with made-up files in its place."""
    cgroup = tmp_path / "cgroup"
    (cgroup / "memory").mkdir(parents=True)
    counts = [cgroup / "memory.events", cgroup / "memory" / "memory.oom_control"]  # v2 and v1, whichever this box has
    for count in counts:
        count.write_text("oom_kill 4\n")
    script = f"echo 'oom_kill 5' | tee {' '.join(map(str, counts))}; kill -9 $$"
    mounting = f"mount --bind {cgroup} /sys/fs/cgroup && exec {PYTHON} -P -m cnnbo.daemon.runner"
    runner = Runner(make_launch(tmp_path, "sh", "-c", script), "unshare", "--mount", "sh", "-c", mounting)
    with runner.process:
        evidence = runner.end()
    assert (evidence.signal, evidence.oom_kills) == (signal.SIGKILL, 1)


def test_pages_that_the_tree_shares_count_once(python: Start) -> None:
    """A limit of 100 MiB must not kill four processes that share 40 MiB, as forked data loaders do."""
    script = """
import os, time
held = bytearray(b"x" * (40 << 20))
for _ in range(3):
    if os.fork() == 0:
        break
time.sleep(1000)
"""
    evidence = python(script, memory_mib=100.0, timeout_s=1.5).end()
    assert evidence.stopped_by == "timeout"
    assert evidence.peak_memory_mib < 100


def test_a_stop_leaves_time_for_a_checkpoint(shell: Start) -> None:
    """`pause --now` must cost no more than the work since the last step."""
    runner = shell(
        """trap 'echo saved > checkpoint; exit 0' TERM; echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; sleep 1000 & wait"""
    )
    runner.hear("progress")
    runner.say({"stop": 60})
    evidence = runner.end()
    assert (evidence.stopped_by, evidence.exit_code) == ("request", 0)
    assert (Path(runner.launch.cwd) / "checkpoint").read_text() == "saved\n"


def test_a_stop_without_patience_kills(python: Start) -> None:
    """A command that is deaf to SIGTERM, and its escaped children, go when the grace is over."""
    runner = python(ESCAPED + "signal.pause()")
    pidfds = escaped(runner)
    runner.say({"stop": 0.1})
    evidence = runner.end()
    assert (evidence.stopped_by, evidence.signal) == ("request", signal.SIGKILL)
    assert all(select.select([pidfd], [], [], 0)[0] for pidfd in pidfds)


def test_a_later_stop_with_more_patience_takes_nothing_back(shell: Start) -> None:
    """A slow second client must not keep alive what the first one ended."""
    runner = shell("""trap "" TERM; echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; sleep 1000""")
    runner.hear("progress")
    runner.say({"stop": 0.2})
    runner.say({"stop": 3600})
    assert runner.end().stopped_by == "request"


def test_a_message_it_does_not_know_changes_nothing(shell: Start, gate: Path) -> None:
    """A daemon of a newer version may say more."""
    runner = shell("cat gate")
    for message in ("stop", {"stop": None}, {"stop": "soon"}, {"nice": 10}, 7, {"stop": float("nan")}):
        runner.say(message)
    runner.hear("started")
    gate.write_text("done")
    assert (runner.end().stopped_by, runner.log) == (None, "done")


# --- progress -------------------------------------------------------------------------------------------------------


def test_progress_is_passed_on(shell: Start) -> None:
    """Screens show what the script told, under the names it told."""
    runner = shell("""echo '{"step":3,"steps":9,"epoch":1,"epochs":2,"metrics":{"acc":0.5}}' >&$CNNBO_PROGRESS_FD""")
    told = {"step": 3, "steps": 9, "epoch": 1, "epochs": 2, "metrics": {"acc": 0.5}, "phase": None}
    assert runner.hear("progress") == told


def test_a_flood_of_progress_is_thinned_and_the_last_is_never_lost(python: Start) -> None:
    """A report per step must not swamp the daemon; what a screen shows last must be where the trial stood."""
    runner = python(
        "import os\n"
        "with open(int(os.environ['CNNBO_PROGRESS_FD']), 'w') as feed:\n"
        '    print(\'{"metrics": {"early": 1}}\', file=feed)\n'
        "    for step in range(50_000): print(f'{{\"step\": {step}}}', file=feed)\n"
        '    print(\'{"metrics": {"late": 2}}\', file=feed)\n'
    )
    evidence = runner.end()
    assert runner.reports[-1]["step"] == 49_999
    assert {name for report in runner.reports for name in report["metrics"]} == {"early", "late"}
    assert len(runner.reports) <= 10 * evidence.elapsed_s + 2


def test_garbage_on_the_progress_descriptor_is_passed_over(shell: Start) -> None:
    """Whatever a script writes there, the trial counts."""
    runner = shell(
        "exec 1>&$CNNBO_PROGRESS_FD; head -c 300000 /dev/urandom; echo; echo '[[[['; head -c 200000 /dev/zero; echo;"
        """echo '{"step": 7}'; printf '{"step": 8'"""
    )
    assert runner.end().exit_code == 0
    assert [report["step"] for report in runner.reports] == [7]


def test_a_daemon_that_does_not_listen_holds_nothing_up(python: Start) -> None:
    """A daemon stopped in a debugger must not suspend the trials' limits."""
    runner = python(
        "import json, os\n"
        "line = json.dumps({'metrics': {f'{n:0100}': n for n in range(64)}}).encode() + b'\\n'\n"
        "while True: os.write(int(os.environ['CNNBO_PROGRESS_FD']), line)\n",
        timeout_s=2.0,  # at about 8 KiB and ten times a second, the pipe of 64 KiB is full before
    )
    pidfd = os.pidfd_open(runner.hear("started")["pid"])
    assert ended(pidfd)
    assert runner.end().stopped_by == "timeout"


def test_a_reader_that_left_changes_nothing(shell: Start, gate: Path) -> None:
    """The evidence is on the disk before it is told, and told to nobody if need be."""
    runner = shell("cat gate; exit 4")
    runner.hear("started")
    assert runner.process.stdout is not None
    runner.process.stdout.close()
    gate.write_text("")
    assert runner.process.wait(30) == 0
    assert runner.written().exit_code == 4


def test_evidence_that_can_not_be_written_is_still_told(shell: Start) -> None:
    """The state folder's disk may be full, or somebody deleted the study."""
    runner = shell("rm -r study; exit 5")
    assert ExitEvidence.from_dict(runner.hear("exit")).exit_code == 5
    assert runner.process.wait(30) == 0


# --- output ---------------------------------------------------------------------------------------------------------


def test_a_flood_of_output_costs_neither_disk_nor_memory(shell: Start, gate: Path) -> None:
    """Binary garbage without a newline, 200 MB of it, while a pattern looks for its value."""
    runner = shell(
        """head -c 200000000 /dev/zero; echo; echo 'acc: 0.5'; echo '{"step": 1}' >&$CNNBO_PROGRESS_FD; cat gate""",
        log_limit_mib=4.0,
        pattern=r"acc: (\S+)",
    )
    runner.hear("progress")
    status = Path(f"/proc/{runner.process.pid}/status").read_text()
    high_water_kib = int(status.split("VmHWM:")[1].split()[0])
    gate.write_text("")
    assert runner.end().value == 0.5
    assert high_water_kib < 64 << 10
    files = [runner.launch.directory / name for name in ("log", "log.1")]
    assert sum(file.stat().st_size for file in files) <= 4 << 20
    assert runner.log.endswith("acc: 0.5\n")


@pytest.mark.parametrize(
    ("use", "maximize", "value"),
    [("last", True, 0.3), ("best", True, 0.9), ("best", False, 0.3), ("mean", True, 0.6)],
)
def test_the_pattern_finds_the_value(shell: Start, use: str, maximize: bool, value: float) -> None:
    """Progress bars end their lines with a carriage return, and the last line may have no end at all."""
    runner = shell(
        r"printf 'epoch 1 acc: 0.6\repoch 2 acc: 0.9\nloss: 7\nepoch 3 acc: 0.3'",
        pattern=r"acc: ([0-9.]+)",
        pattern_use=use,
        maximize=maximize,
        metric="val_accuracy",
    )
    evidence = runner.end()
    assert evidence.matches == 3
    assert evidence.value == pytest.approx(value)
    assert runner.reports[-1]["metrics"] == {"val_accuracy": 0.3}


def test_a_match_that_is_not_a_number_counts(shell: Start) -> None:
    """A loss that became NaN is a divergence, not a missing value."""
    evidence = shell("echo loss: 0.1; echo loss: nan", pattern=r"loss: (\S+)").end()
    assert evidence.matches == 2
    assert evidence.value is not None and math.isnan(evidence.value)
