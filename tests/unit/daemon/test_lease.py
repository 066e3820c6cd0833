"""Leases between real processes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cnnbo.daemon.lease import Lease, lease_path
from cnnbo.scheduler.errors import ConfigurationError

HOLD = """
import sys
from pathlib import Path
from cnnbo.daemon.lease import Lease
lease = Lease.acquire(Path(sys.argv[1]))
print("held" if lease else "refused", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return lease_path(tmp_path, "GPU-1234")


def test_the_path_names_the_device(tmp_path: Path) -> None:
    """All instances and users of a box must come to the same file, also for ids with slashes."""
    assert lease_path(tmp_path, "GPU-1234") == tmp_path / "cnnbo-GPU-1234"
    assert lease_path(tmp_path, "MIG-GPU-1234/3/0") == tmp_path / "cnnbo-MIG-GPU-1234_3_0"


def test_only_one_holds_it(path: Path) -> None:
    """Two trials on one device spoil both."""
    lease = Lease.acquire(path)
    assert lease is not None
    assert Lease.acquire(path) is None
    assert not Lease.is_free(path)
    lease.release()
    assert Lease.is_free(path)
    lease.release()
    with Lease.acquire(path) or pytest.fail("still held"):
        assert not Lease.is_free(path)
    assert Lease.is_free(path)


def test_a_killed_holder_lets_go(path: Path) -> None:
    """No stale lock may keep a device idle after a crash."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert Lease.acquire(path) is None
        holder.kill()
    assert Lease.is_free(path)


def test_a_child_does_not_inherit_it(path: Path) -> None:
    """A lock that a trial carried on would outlive the runner that answers for it."""
    lease = Lease.acquire(path)
    assert lease is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lease.release()
        assert Lease.is_free(path)


def test_a_missing_file_is_free_and_is_not_made_by_asking(path: Path) -> None:
    """The device loop asks all the time and must leave no trace."""
    assert Lease.is_free(path)
    assert not path.exists()


def test_every_user_can_read_the_file(path: Path) -> None:
    """Reading is what flock needs; a strict umask of the first user must not lock the others out."""
    before = os.umask(0o077)
    try:
        Lease.acquire(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_read_only_file_is_enough(path: Path) -> None:
    """It may belong to another user of the box."""
    path.touch(0o444)
    assert Lease.acquire(path) is not None


def test_a_planted_link_is_refused(path: Path, tmp_path: Path) -> None:
    """The folder is shared; a link would let somebody else choose what we lock."""
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Lease.acquire(path)
    with pytest.raises(ConfigurationError, match="lease_dir"):
        Lease.is_free(path)


def test_a_planted_pipe_does_not_block(path: Path) -> None:
    """Opening a pipe for reading waits for a writer, for ever."""
    os.mkfifo(path)
    assert Lease.is_free(path)
