"""A box of files that checks look at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnnbo.cli.doctor.scope import Places, Scope
from cnnbo.daemon.settings import Settings


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    """A machine without NVIDIA, systemd, Slurm or daemon, whose state folder is there; nothing of this one shows."""
    nowhere = tmp_path / "nowhere"
    places = Places(nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, str(nowhere), (), nowhere)
    state, leases = tmp_path / "state", tmp_path / "leases"
    state.mkdir(mode=0o700)
    leases.mkdir()
    leases.chmod(0o1777)
    return Scope(Settings(state, "tower", lease_dir=leases), {"PATH": "/usr/bin:/bin"}, places=places)


def at(scope: Scope, **places: Any) -> Scope:
    """The same with some facts read elsewhere."""
    return replace(scope, places=replace(scope.places, **places))
