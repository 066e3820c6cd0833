"""Asking and telling systemd, by its own commands."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cnnbo.cli.installing.place import UNIT
from cnnbo.scheduler.errors import RequestError

BOOTED: Final = Path("/run/systemd/system")
"""There while systemd is the service manager of the box, see sd_booted(3)."""

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Systemctl:
    """The service manager of the box, or of the user who types this.

    Attributes:
        is_user: which of the two.
        environ: of the commands.
    """

    is_user: bool
    environ: Mapping[str, str]

    @classmethod
    def of(cls, is_user: bool) -> "Systemctl":
        """The manager, with the environment that reaches it; over SSH or sudo a user's may lack its runtime folder."""
        environ = dict(os.environ)
        runtime = Path(f"/run/user/{os.getuid()}")
        if is_user and not environ.get("XDG_RUNTIME_DIR") and runtime.is_dir():
            environ["XDG_RUNTIME_DIR"] = str(runtime)
        return cls(is_user, environ)

    @property
    def is_reachable(self) -> bool:
        """Whether there is a manager to ask; a user's is there from a login to the last logout, or while it lingers."""
        runtime = self.environ.get("XDG_RUNTIME_DIR")
        return BOOTED.is_dir() and (not self.is_user or (runtime is not None and Path(runtime, "systemd").is_dir()))

    def command(self, *words: str) -> Command:
        """A command line of systemctl."""
        return ("systemctl", "--user", *words) if self.is_user else ("systemctl", *words)

    def show(self, *properties: str) -> dict[str, str]:
        """Properties of the unit as systemd tells them; empty texts where it tells nothing."""
        told = dict.fromkeys(properties, "")
        if not self.is_reachable:
            return told
        done = self._done(self.command("show", UNIT, f"--property={','.join(properties)}"))
        return told | dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def log_lines(self, count: int) -> list[str]:
        """The last lines of the daemon's last life, else what systemd says of it; empty where they can't be read."""
        unit = f"--user-unit={UNIT}" if self.is_user else f"--unit={UNIT}"
        # systemd's own lines say that it failed, after the one that says why.
        own = f"_SYSTEMD_INVOCATION_ID={self.show('InvocationID')['InvocationID']}"
        for whose in (own, unit):
            done = self._done(("journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={count}", whose))
            if done.returncode == 0 and done.stdout:
                return done.stdout.splitlines()
        return []

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end.

        Raises:
            RequestError: it failed; the sentence holds what it said.
        """
        done = self._done(command)
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise RequestError(f"`{shlex.join(command)}` failed: {said}")

    def forget_failure(self) -> None:
        """Let systemd forget how the unit failed, so that it doesn't list it any more."""
        self._done(self.command("reset-failed", UNIT))

    def _done(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                command, env=self.environ, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False
            )
        except FileNotFoundError as error:
            raise RequestError(f"{command[0]} isn't installed here, and it is needed; install it.") from error
