"""How a service is, for people and for scripts."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnbo import __version__
from cnnbo.cli.installing.place import Place
from cnnbo.cli.installing.removal import size
from cnnbo.cli.installing.running import Running
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.commit import as_text, source_commit
from cnnbo.daemon.messages import rfc3339

LOG_LINES = 8


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service with its files.

    Attributes:
        place: where they are.
        running: how it is.
        python: the interpreter that its unit names; None where there is no unit that does.
        installed: the version that this interpreter has; None where it doesn't tell.
        installed_commit: of the source of that; None where that is unknown.
        state_bytes: what the state folder holds; None where it is closed to us, or missing.
        next_step: what to do if it isn't active; None where it is.
        log: its last lines, if it isn't active.
    """

    place: Place
    running: Running
    python: Path | None
    installed: str | None
    installed_commit: str | None
    state_bytes: int | None
    next_step: str | None
    log: tuple[str, ...]

    @classmethod
    def look(cls, place: Place, systemctl: Systemctl) -> "ServiceStatus":
        """Look at it."""
        running = Running.look(place, systemctl)
        python = interpreter_of(place.unit)
        log = () if running.is_active or not place.unit.exists() else tuple(systemctl.log_lines(LOG_LINES))
        return cls(
            place,
            running,
            python,
            *((None, None) if python is None else _build_of(python)),
            size(place.state_or_default()),
            _next_step(place, running, systemctl),
            log,
        )

    @property
    def needs_restart(self) -> bool:
        """Whether another version, or another commit of the same, runs than is installed."""
        return self.running.is_other_than(self.installed, self.installed_commit)

    def facts(self) -> dict[str, Any]:
        """What `--json` prints."""
        running = self.running
        return {
            "installed": self.place.unit.exists(),
            "enabled": running.is_enabled,
            "active": running.is_active,
            "state": running.state,
            "since": rfc3339(running.since),
            "pid": running.pid,
            "restarts": running.restarts,
            "status": running.status,
            "result": running.result,
            "exit_status": running.exit_status,
            "version": running.version,
            "commit": running.commit,
            "installed_version": self.installed,
            "installed_commit": self.installed_commit,
            "needs_restart": self.needs_restart,
            "python": None if self.python is None else str(self.python),
            "unit": str(self.place.unit),
            "drop_ins": list(running.drop_ins),
            "config": str(self.place.config),
            "state_folder": str(self.place.state_or_default()),
            "state_bytes": self.state_bytes,
            "socket": None if running.socket is None else str(running.socket),
            "log": list(self.log),
            "next": self.next_step,
        }

    def lines(self) -> list[str]:
        """What is printed for people."""
        from cnnbo.cli.output import duration

        running, place = self.running, self.place
        rows: list[tuple[str, str | None]] = [
            ("service", _state_text(place, running)),
            ("status", running.status or None),
            ("since", None if running.since is None else _since_text(running.since, duration)),
            ("daemon", None if running.pid is None else f"pid {running.pid}, {running.restarts} restarts by systemd"),
            ("version", self._version_text()),
            ("python", None if self.python is None else str(self.python)),
            ("unit", ", ".join((str(place.unit), *running.drop_ins)) if place.unit.exists() else None),
            ("config", str(place.config) if place.config.exists() else None),
            ("state", _folder_text(place.state_or_default(), self.state_bytes)),
            ("socket", None if running.socket is None else str(running.socket)),
        ]
        lines = [f"{title:<8} {text}" for title, text in rows if text is not None]
        lines += [f"  | {line}" for line in self.log]
        return lines if self.next_step is None else [*lines, f"next     {self.next_step}"]

    def _version_text(self) -> str | None:
        installed = None if self.installed is None else as_text(self.installed, self.installed_commit)
        if self.needs_restart:
            return f"{self.running.build} runs, {installed} is installed: restart it"
        return self.running.build or installed


def interpreter_of(unit: Path) -> Path | None:
    """The interpreter that a unit names; None where there is no such unit."""
    try:
        found = re.search(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    words = shlex.split(found[1].replace("%%", "%").replace("$$", "$")) if found else []
    return Path(words[0]) if words else None


def _build_of(python: Path) -> tuple[str | None, str | None]:
    """Version and commit of the cnnbo that an interpreter has; older ones tell no commit."""
    if python == Path(sys.executable):
        return __version__, source_commit()
    asked = (
        "import cnnbo; print(cnnbo.__version__); from cnnbo.commit import source_commit; print(source_commit() or '')"
    )
    command = [str(python), "-P", "-c", asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    version, _, commit = done.stdout.strip().partition("\n")
    return version or None, commit or None


def _next_step(place: Place, running: Running, systemctl: Systemctl) -> str | None:
    if running.is_active:
        return None
    if not place.unit.exists():
        return f"cnnbo service install{' --user' if place.is_user else ''} --now"
    start = " ".join(systemctl.command("start", "cnnbo"))
    if running.state == "failed":  # after a few tries systemd refuses to start it, whatever was mended
        start = f"{' '.join(systemctl.command('reset-failed', 'cnnbo'))} && {start}"
    if running.exit_status == 78:
        return f"what the last line says, in {place.config} or elsewhere; then: {start}"
    if running.state in ("activating", "deactivating"):
        return f"wait: it is {running.state}"
    return start


def _state_text(place: Place, running: Running) -> str:
    if not place.unit.exists():
        return "not installed"
    enabled = "enabled" if running.is_enabled else "not enabled, so not there after a reboot"
    if running.state != "failed":
        return f"{running.state}, {enabled}"
    end = "" if running.exit_status is None else f", exit status {running.exit_status}"
    return f"failed ({running.result}{end}), {enabled}"


def _since_text(since: float, duration: Any) -> str:
    moment = datetime.fromtimestamp(since).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}, {duration(datetime.now().timestamp() - since)}"


def _folder_text(folder: Path, held: int | None) -> str | None:
    from rich.filesize import decimal

    return str(folder) if held is None else f"{folder}, {decimal(held)}"
