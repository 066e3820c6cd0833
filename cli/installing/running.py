"""How the service is now, by what systemd and the daemon itself say."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbo.cli.installing.place import Place
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.commit import as_text
from cnnbo.scheduler.errors import CnnboError

_PROPERTIES = (
    *("LoadState", "UnitFileState", "ActiveState", "SubState", "ActiveEnterTimestampMonotonic", "MainPID", "NRestarts"),
    *("StatusText", "Result", "ExecMainStatus", "DropInPaths"),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A service, now.

    Attributes:
        is_enabled: whether systemd starts it by itself.
        state: systemd's word: active, activating, deactivating, reloading, failed or inactive.
        since: when it became active, in seconds since the epoch; None where it isn't.
        pid: of the daemon; None where there is none.
        restarts: how often systemd started it anew since somebody did.
        status: what the daemon says of itself, in one line.
        result: systemd's word for how it ended last; `success` while it runs.
        exit_status: the daemon's last one; None while it runs, and before it ever did.
        drop_ins: paths of what changes the unit.
        version: of the daemon that runs; None where it can't be asked.
        commit: of the source that it was started from; None where that is unknown.
        socket: where the daemon takes requests; None where none answers.
    """

    is_enabled: bool
    state: str
    since: float | None
    pid: int | None
    restarts: int
    status: str | None
    result: str | None
    exit_status: int | None
    drop_ins: tuple[str, ...]
    version: str | None
    commit: str | None
    socket: Path | None

    def is_other_than(self, version: str | None, commit: str | None) -> bool:
        """Whether something else runs than this; what isn't known on both sides doesn't count."""
        return any(None not in pair and pair[0] != pair[1] for pair in ((self.version, version), (self.commit, commit)))

    @property
    def build(self) -> str | None:
        """Version and commit of the daemon that runs, for people; None where it can't be asked."""
        return None if self.version is None else as_text(self.version, self.commit)

    @property
    def is_active(self) -> bool:
        """Whether the daemon is up and ready."""
        return self.state in ("active", "reloading")

    @classmethod
    def look(cls, place: Place, systemctl: Systemctl) -> "Running":
        """Look at it."""
        told = systemctl.show(*_PROPERTIES)
        is_active = told["ActiveState"] in ("active", "reloading")
        daemon = _daemon(place) if is_active else None
        pid = int(told["MainPID"] or 0)
        entered_s = int(told["ActiveEnterTimestampMonotonic"] or 0) / 1e6
        return cls(
            is_enabled=told["UnitFileState"] == "enabled",
            state=told["ActiveState"] or "inactive",
            since=time.time() - (time.monotonic() - entered_s) if is_active else None,
            pid=pid or None,
            restarts=int(told["NRestarts"] or 0),
            status=told["StatusText"] or None,
            result=told["Result"] or None,
            exit_status=None if pid or not told["ExecMainStatus"] else int(told["ExecMainStatus"]),
            drop_ins=tuple(told["DropInPaths"].split()),
            version=None if daemon is None else daemon["version"],
            commit=None if daemon is None else daemon.get("commit"),  # one of an older version tells none
            socket=None if daemon is None else place.socket(),
        )


def _daemon(place: Place) -> dict[str, Any] | None:
    """What the daemon says of itself; None where it says nothing, or not to us."""
    from cnnbo.daemon.client import ask

    try:
        return dict(ask(place.state_or_default(), "status")["daemon"])
    except (CnnboError, OSError):
        return None
