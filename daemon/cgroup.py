"""What the kernel's out-of-memory killer did in our memory cgroup.

Standard library only: the trial runner imports it.
"""

from collections.abc import Iterator
from pathlib import Path


def oom_kills(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How many processes the kernel's out-of-memory killer has ended in the memory cgroup of this process.

    Other trials below the same daemon count, too, where they share its cgroup.

    Args:
        membership: the file that names a process's cgroups.
        root: where the cgroup file systems are mounted.

    Returns:
        `oom_kill` of memory.events (cgroup v2) or memory.oom_control (v1); None where neither can be read.
    """
    for path in _event_files(membership, root):
        try:
            counts = dict(line.split(" ", 1) for line in path.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _event_files(membership: Path, root: Path) -> Iterator[Path]:
    """Where the count may stand; in a container the path may be the host's, and the mount itself our folder."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for folder in (path.lstrip("/"), ""):
            if "memory" in controllers.split(","):
                yield root / "memory" / folder / "memory.oom_control"
            elif not controllers:
                yield root / folder / "memory.events"
