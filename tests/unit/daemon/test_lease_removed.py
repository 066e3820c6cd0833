"""Leases whose file was taken away by the last holder, as `cnnbo doctor` does with those that it made."""

import fcntl
from pathlib import Path

import pytest

from cnnbo.daemon.lease import Lease


def test_a_lease_on_a_removed_file_is_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and locking it, its holder may remove it; the next one would lock another file."""
    path, lock = tmp_path / "cnnbo-cpu-0", fcntl.flock

    def lock_what_was_just_removed(descriptor: int, how: int) -> None:
        monkeypatch.undo()  # this once
        path.unlink()
        lock(descriptor, how)

    path.touch()
    monkeypatch.setattr(fcntl, "flock", lock_what_was_just_removed)
    lease = Lease.acquire(path)
    assert lease is not None
    with lease:
        assert Lease.acquire(path) is None and not Lease.is_free(path)
    assert Lease.is_free(path)
