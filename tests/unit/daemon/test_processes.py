"""What /proc tells of real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from cnnbo.daemon import processes

Spawn = Callable[..., "subprocess.Popen[bytes]"]

# Holds 40 MiB, shares it with three forked children, and tells when all of them are there.
SHARING = """
import os, signal, sys
held = bytearray(b"x" * (40 << 20))
for _ in range(3):
    if os.fork() == 0:
        os.write(1, b"child\\n")
        signal.pause()
signal.pause()
"""


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts processes, each leading a group; all groups are killed in the end."""
    with ExitStack() as stack:

        def start(*command: str, lines: int = 0, **options: dict[str, str]) -> "subprocess.Popen[bytes]":
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **options)  # type: ignore[call-overload]
            )
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            for _ in range(lines):
                process.stdout.readline()
            return process  # type: ignore[no-any-return]

        yield start


def test_start_time_tells_two_lives_of_one_pid_apart() -> None:
    """A pid alone names nobody: it is used again."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with process:
        ours, theirs = processes.start_time(os.getpid()), processes.start_time(process.pid)
    assert ours is not None and theirs is not None
    assert 0 < ours < theirs


def test_a_name_with_brackets_does_not_confuse(spawn: Spawn) -> None:
    """The name stands in the middle of the line and may hold anything."""
    name = "import ctypes, signal; ctypes.CDLL(None).prctl(15, b') R 1 ('); print(flush=True); signal.pause()"
    process = spawn(sys.executable, "-c", name, lines=1)
    began = processes.start_time(process.pid)
    assert began is not None and began >= (processes.start_time(os.getpid()) or 0)
    assert process.pid in processes.descendants(os.getpid())


def test_a_process_that_is_gone_has_no_start_time() -> None:
    """Recovery asks for the pids of an earlier life."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert processes.start_time(process.pid) is None


def test_descendants_are_found_at_any_depth_parents_first(spawn: Spawn) -> None:
    """A parent killed after its child would fork the next one."""
    process = spawn("sh", "-c", "sh -c 'sleep 1000 & echo; wait' & wait", lines=1)
    found = processes.descendants(process.pid)
    assert len(found) == 2
    assert processes.descendants(found[0]) == [found[1]]
    # Other tests of this process may have children of their own (a resource tracker); ours come in order.
    below = [pid for pid in processes.descendants(os.getpid()) if pid in (process.pid, *found)]
    assert below == [process.pid, *found]


def test_shared_pages_count_once_where_it_matters(spawn: Spawn) -> None:
    """Forked data loaders share their parent's data set: four times 40 MiB are 40 MiB."""
    process = spawn(sys.executable, "-I", "-S", "-c", SHARING, lines=3)
    pids = [process.pid, *processes.descendants(process.pid)]
    assert len(pids) == 4
    assert processes.resident_mib(pids) > 4 * 40
    assert 40 < processes.proportional_mib(pids) < 2 * 40


def test_memory_of_the_dead_is_none() -> None:
    """They end while we count."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert processes.resident_mib([process.pid]) == 0
    assert processes.proportional_mib([process.pid]) == 0


def test_only_the_exact_token_is_a_match(spawn: Spawn) -> None:
    """A substring would kill strangers."""
    process = spawn(
        "sh", "-c", "echo; exec sleep 1000", lines=1, env={"CNNBO_TOKEN": "abcdef", "OTHER": "CNNBO_TOKEN=x"}
    )
    assert processes.carriers(["abcdef"]) == [process.pid]
    assert processes.carriers(["abc", "bcdef", "x", ""]) == []
    assert processes.carriers([]) == []


def test_a_cleared_environment_does_not_hide_from_the_mark(spawn: Spawn) -> None:
    """`env -i`, `sudo` and many a daemon start with a clean environment, and in a session of their own."""
    begin = "import os, sys; from cnnbo.daemon import processes; processes.mark_self('family')"
    process = spawn(
        sys.executable, "-c", f"{begin}; os.execvp('env', ['env', '-i', 'sh', '-c', 'echo; exec sleep 1000'])", lines=1
    )
    assert processes.carriers(["family"]) == [process.pid]
    assert processes.carriers(["stranger"]) == []


def test_a_dead_process_that_nobody_reaped_carries_nothing(spawn: Spawn) -> None:
    """Its limits can still be read, and waiting for it to go would take for ever."""
    begin = "from cnnbo.daemon import processes; processes.mark_self('family'); print()"
    process = spawn(sys.executable, "-c", begin, lines=1)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.carriers(["family"]) == []


def test_killing_reaches_every_session_and_counts(spawn: Spawn) -> None:
    """Whatever left the session still carries the token."""
    script = "setsid sh -c 'trap \"\" TERM; echo; sleep 1000' & trap '' TERM; echo; wait"
    process = spawn("sh", "-c", script, lines=2, env={"CNNBO_TOKEN": "family", "PATH": os.environ["PATH"]})
    pidfd = os.pidfd_open(process.pid)
    assert processes.kill_carriers(["family"]) >= 2
    assert os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    os.close(pidfd)
    assert processes.kill_carriers(["family"]) == 0
