"""Looking at and ending processes through /proc: descendants, age, memory, and whose attempt they belong to.

Every process of an attempt carries two signs of it, made from the attempt's random token: an environment variable, and
a mark that stays when a program clears its environment, the limit RLIMIT_RTTIME, at a number of its own beyond 100,000
years of processor time. The kernel hands limits down to every child, and nobody without privileges can raise one again.
This one binds programs under a real-time scheduling policy only, and those after that time.

Linux only, standard library only: the trial runner imports it.
"""

import hashlib
import os
import pwd
import resource
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

TOKEN_VARIABLE = "CNNBO_TOKEN"
"""Environment variable that every process of an attempt carries."""


def _all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()  # the second field, the name, may hold blanks and brackets itself


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; with its pid and the boot it names a process for good.

    Returns:
        field 22 of /proc/PID/stat, or None if there is no such process.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def owner(pid: int) -> str | None:
    """Name of the user a process runs as, or its number where it has no name; None if there is no such process."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def command_line(pid: int, limit: int = 60) -> str | None:
    """How a process was called, at most `limit` characters of it; None if there is no such process or it doesn't say.

    What a stranger wrote there is shown on screens: control characters become blanks.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return None
    text = "".join(c if c.isprintable() else " " for c in " ".join(words)).strip()
    return (text if len(text) <= limit else f"{text[: limit - 1]}…") or None


def _children_by_task(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # it ended while we looked
        for task in Path(f"/proc/{pid}/task").iterdir():  # a child hangs on the thread that forked it
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _children_by_scan() -> Callable[[int], list[int]]:
    """One look at every process of the box: about 15 ms per thousand, for kernels without CONFIG_PROC_CHILDREN."""
    table: dict[int, list[int]] = {}
    for pid in _all_pids():
        if fields := _stat(pid):
            table.setdefault(int(fields[1]), []).append(pid)
    return lambda pid: table.get(pid, [])


_TASKS_NAME_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


def descendants(root: int) -> list[int]:
    """Pids of everything below `root`, each after its parent; unreaped dead ones are among them.

    Whoever calls this as the subreaper of the tree misses nobody for long: an orphan turns up as its own child.
    """
    children = _children_by_task if _TASKS_NAME_CHILDREN else _children_by_scan()
    found: dict[int, None] = {}
    parents = [root]
    while parents:
        born = children(parents.pop())
        found.update(dict.fromkeys(born))
        parents += born
    return list(found)


def _sum_of_lines(path: str, names: tuple[str, ...]) -> float | None:
    """Sum of the `Name:  123 kB` lines called `names`, in MiB; None if the file can't be read or holds none of them."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return None
    figures = [int(line.split()[1]) for line in lines if line.startswith(names)]
    return sum(figures) / 1024 if figures else None


def _resident_mib(pid: int) -> float:
    return _sum_of_lines(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:")) or 0.0


def resident_mib(pids: Iterable[int]) -> float:
    """Private and shared memory the processes hold in RAM, in MiB, without mapped files, which the kernel can drop.

    Cheap, and never too low: a page shared by n processes counts n times.
    """
    return sum(map(_resident_mib, pids))


def proportional_mib(pids: Iterable[int]) -> float:
    """The same, each shared page counted once in all: what the processes cost the box.

    Forked data loaders share the parent's data set, so the difference to `resident_mib` can be tenfold. The kernel
    walks page tables for it, some milliseconds per GiB.
    """
    total = 0.0
    for pid in pids:
        exact = _sum_of_lines(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
        total += _resident_mib(pid) if exact is None else exact
    return total


def _mark(token: str) -> int:
    """The attempt's number for RLIMIT_RTTIME, from 2**62 up to below 2**63."""
    digest = hashlib.sha256(token.encode()).digest()
    return 1 << 62 | int.from_bytes(digest[:8], "big") >> 2


def mark_self(token: str) -> None:
    """Mark this process, and all that will ever come from it, as belonging to an attempt.

    Where a lower limit was set before and may not be raised, nothing happens: the environment still tells.
    """
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (_mark(token), _mark(token)))


def _has_variable(pid: int, wanted: set[bytes]) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended, or belongs to somebody else
        return False
    return not wanted.isdisjoint(environment.split(b"\0"))


def _has_mark(pid: int, wanted: set[str]) -> bool:
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:  # it ended
        return False
    lines = (line.split() for line in limits.splitlines() if line.startswith("Max realtime timeout "))
    is_marked = any(words[4] in wanted for words in lines)  # the hard limit: whoever likes lowers the soft one
    return is_marked and _stat(pid)[:1] != ["Z"]  # unlike the environment, limits stay until a dead process is reaped


def _may_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def carriers(tokens: Collection[str]) -> list[int]:
    """Pids of living processes we may signal that carry one of the tokens, as variable or mark; never our own pid."""
    variables = {f"{TOKEN_VARIABLE}={token}".encode() for token in tokens}
    marks = {str(_mark(token)) for token in tokens}
    others = (pid for pid in _all_pids() if pid != os.getpid() and _may_signal(pid))
    return [pid for pid in others if _has_variable(pid, variables) or _has_mark(pid, marks)]


def _wait_for_ends(pidfds: Iterable[int], deadline: float) -> None:
    poll = select.poll()
    waiting = set(pidfds)
    for pidfd in waiting:
        poll.register(pidfd, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(left * 1000):
            poll.unregister(pidfd)
            waiting.discard(pidfd)


def kill_carriers(tokens: Collection[str], patience_s: float = 5.0) -> int:
    """SIGKILL every process that carries one of the tokens, again until none is left, and wait for their ends.

    Args:
        tokens: tokens of attempts, at least 16 random characters each: a match is proof enough to kill.
        patience_s: how long to wait in all for processes that hang inside the kernel.

    Returns:
        how many processes were killed; 0 = none was there.
    """
    deadline = time.monotonic() + patience_s
    killed: set[int] = set()
    while (found := carriers(tokens)) and time.monotonic() < deadline:
        with ExitStack() as stack:
            pidfds = {}
            for pid in found:
                with suppress(OSError):
                    pidfds[pid] = os.pidfd_open(pid)
                    stack.callback(os.close, pidfds[pid])
            # Looked at once more with the pidfd in hand: from here on a reused pid can't be hit.
            victims = set(pidfds) & set(carriers(tokens))
            for pid in victims:
                with suppress(OSError):
                    signal.pidfd_send_signal(pidfds[pid], signal.SIGKILL)
            # The environment vanishes early in exit, the device's memory late: only the pidfd tells the end.
            _wait_for_ends((pidfds[pid] for pid in victims), deadline)
            killed |= victims
    return len(killed)
