"""A box of its own: a real systemd as PID 1 in a container, on a copy of this machine's files that forgets everything.

The root is an overlay of `/` on a tmpfs. What runs inside is reached through the container's namespaces.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

BOOT_S: Final = 120
COMMAND_S: Final = 150
STOP_S: Final = 60

PYTHON: Final = "/opt/cnnbo/bin/python"
CNNBO: Final = "/opt/cnnbo/bin/cnnbo"

# Nothing of this machine shall start in there, or wake up and change files between two listings.
_MASKED: Final = (
    *("postgresql.service", "mosquitto.service", "systemd-timesyncd.service", "systemd-pstore.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("man-db.timer", "logrotate.timer", "systemd-tmpfiles-clean.timer", "e2scrub_reap.service"),
    *("console-getty.service", "getty@.service", "systemd-networkd.service", "cron.service", "anacron.timer"),
)
# Not cnnbo's: systemd's journal and random seed, and what the user tools keep beside the files that they change.
_VOLATILE: Final = (
    r"var/log/(journal|wtmp|lastlog|btmp|faillog)|var/lib/systemd/|run/|tmp/"
    r"|etc/((passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock)$"
)


def unable() -> str | None:
    """Why no such box can be booted here; None where it can."""
    if os.getuid() != 0:
        return "needs root: it mounts and boots a container"
    missing = [p for p in ("systemd-nspawn", "nsenter", "systemd-analyze", "loginctl") if shutil.which(p) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: systemd-container, libpam-systemd, dbus-user-session)"
    # Root of a container may lack the right to it.
    mounting = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return None if mounting.returncode == 0 else "mounting isn't allowed here, not even to root"


def take_own_mounts() -> None:
    """Give this process mounts of its own, which go away with it however it ends."""
    new_mounts = 0x00020000  # CLONE_NEWNS of <linux/sched.h>; Python has os.unshare from 3.12 on
    if ctypes.CDLL(None, use_errno=True).unshare(new_mounts) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Machine:
    """A container with systemd; use it as a context manager."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.root = scratch / "root"
        self.upper = scratch / "upper"
        self._console = scratch / "console"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Machine":
        with contextlib.ExitStack() as stack:
            stack.enter_context(_mounted(self._scratch, "-t", "tmpfs", "-o", "mode=0755", "tmpfs"))
            for name in ("root", "upper", "work"):
                (self._scratch / name).mkdir()
            layers = f"lowerdir=/,upperdir={self.upper},workdir={self._scratch / 'work'}"
            stack.enter_context(_mounted(self.root, "-t", "overlay", "-o", layers, "overlay"))
            stack.callback(self.power_off)
            self._prepare()
            self.boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prepare(self) -> None:
        units = self.root / "etc/systemd/system"
        for unit in _MASKED:
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to("/dev/null")
        # The interpreter of these tests may have its library where nobody but root gets to.
        (self.root / "etc/ld.so.conf.d/cnnbo-test.conf").write_text("/opt/python/lib\n")
        (self.root / "etc/machine-id").write_text("c0ffee00c0ffee00c0ffee00c0ffee00\n")
        (self.root / "etc/hostname").write_text("tower\n")
        shutil.rmtree(self.root / "var/log/journal", ignore_errors=True)
        for folder in ("opt/python", "opt/site-packages"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    # -- power ---------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start it and wait until its systemd says that it is up."""
        told = self._scratch / "told"
        told.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, self._console.open("ab") as console:
            listener.bind(str(told))
            listener.settimeout(BOOT_S)
            self._nspawn = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # it goes with these tests, however they end
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"),
                    *("--notify-ready=yes", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--boot"),
                    *("--directory", self.root, f"--bind-ro={sys.base_prefix}:/opt/python"),
                    f"--bind-ro={sysconfig.get_path('purelib')}:/opt/site-packages",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": str(told)},
            )  # fmt: skip
            text = ""
            while "READY=1" not in text.splitlines():
                text = listener.recv(4096).decode()
                for line in text.splitlines():
                    if line.startswith("X_NSPAWN_LEADER_PID="):
                        self._leader = int(line.partition("=")[2])

    def reboot(self) -> None:
        """What `reboot` does; nspawn leaves it to its caller to start anew."""
        self.run("systemctl", "reboot", "--no-block")
        assert self._nspawn is not None
        self._nspawn.wait(STOP_S)
        self.boot()

    def power_off(self) -> None:
        """Stop it in order; what doesn't stop in time is killed."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()  # PID 1 of the container dies with it, and everything inside
            self._nspawn.wait()

    # -- inside --------------------------------------------------------------------------------------------------------

    def run(
        self, *command: str, user: str = "root", code: int | None = 0, stdin: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command inside to its end, as root or another user, with a new environment.

        Args:
            command: program and arguments.
            user: whose rights and home it has; without a session, as with `sudo -u`.
            code: what it must exit with; None = anything.
            stdin: what it reads; None = nothing.
            environment: beside PATH, HOME, USER and LANG.
        """
        home = "/root" if user == "root" else f"/home/{user}"
        enter = ["nsenter", "--target", str(self._leader), "--all", f"--wd={self.root}", "env", "--ignore-environment"]
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        values = {
            "HOME": home,
            "USER": user,
            "LANG": "C.UTF-8",
            "PATH": f"{Path(CNNBO).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done = subprocess.run(
            [*enter, *(f"{k}={v}" for k, v in (values | environment).items()), *become, *command],
            input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            text=True, capture_output=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, (
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        )
        return done

    def json(self, *command: str, user: str = "root") -> Any:
        """What `cnnbo … --json` prints."""
        return json.loads(self.run(CNNBO, *command, "--json", user=user).stdout)

    def write(self, path: str, text: str) -> None:
        """Write a file as root; its folder is made where it is missing."""
        self.run("mkdir", "--parents", str(Path(path).parent))
        self.run("tee", path, stdin=text)

    def listing(self) -> dict[str, str]:
        """Every file that differs from this machine's, with owner, mode and what it holds.

        Without the journal's own files, what interpreters compile, and pip's.
        """
        found = {}
        for path in sorted(self.upper.rglob("*")):
            name = str(path.relative_to(self.upper))
            if not re.match(_VOLATILE, name) and "__pycache__" not in name:
                status = path.lstat()
                content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
                found[name] = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid} {content}"
        return found

    def show(self, *properties: str, unit: str = "cnnbo.service") -> dict[str, str]:
        """What `systemctl show` says of a unit."""
        text = self.run("systemctl", "show", unit, f"--property={','.join(properties)}").stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def journal(self, unit: str = "cnnbo.service", invocation: str | None = None) -> str:
        """The last lines that the box's journal holds of a unit, or of one life of it (`InvocationID`)."""
        of_life = (f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}")
        command = ["journalctl", "--no-pager", "--output=short-monotonic", "--lines=80"]
        command += [f"--unit={unit}"] if invocation is None else of_life
        enter = ["nsenter", "--target", str(self._leader), "--all"]
        return subprocess.run([*enter, *command], text=True, capture_output=True, check=False).stdout

    def until(self, what: str, holds: Callable[[], bool], timeout_s: float = 90.0) -> None:
        """Wait for something that nobody tells."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{self.journal()}"
            time.sleep(0.3)


@contextlib.contextmanager
def _mounted(point: Path, *arguments: str) -> Iterator[None]:
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        yield
    finally:
        # Lazily if need be: whatever removes the tests' folders later would walk into a mount that stays.
        if subprocess.run(["umount", str(point)], check=False).returncode != 0:
            subprocess.run(["umount", "--lazy", str(point)], check=True)
