"""Debian's mosquitto as `cnnbo broker configure` sets it up, included from a configuration like Debian's own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cnnbo.daemon.mqtt import BrokerAddress

_WAIT_S = 30.0  # for what is bound to happen
CNNBO = Path(sys.executable).with_name("cnnbo")


class SecuredBroker:
    """A broker with TLS, users and rights, on a port of its own that survives a restart.

    Beside the users that every folder gets (the node `tower`, `viewer`, `operator`) there is the node `other`.

    Attributes:
        folder: what `cnnbo broker configure` wrote.
        printed: what it printed.
        log: the broker's.
    """

    def __init__(self) -> None:
        # No folder of pytest's: those are closed to the account that mosquitto changes to.
        self._home = Path(tempfile.mkdtemp(prefix="cnnbo-broker-"))
        self._home.chmod(0o755)
        self.folder, self.log = self._home / "cnnbo", self._home / "mosquitto.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.printed = self.configure("--port", str(self.port), "--user", "other:node")
        self._process: subprocess.Popen[bytes] | None = None
        self._write_main_configuration()

    def configure(self, *arguments: str) -> str:
        """Run `cnnbo broker configure` on the folder; what it printed."""
        command: list[str | Path] = [CNNBO, "broker", "configure", self.folder, "--node", "tower", *arguments]
        environment = {**os.environ, "CNNBO_STATE": str(self._home / "state"), "CNNBO_CONFIG": os.devnull}
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def _write_main_configuration(self) -> None:
        included, database = self._home / "conf.d", self._home / "database"
        included.mkdir()
        (included / "cnnbo.conf").symlink_to(self.folder / "cnnbo.conf")
        database.mkdir()
        shutil.chown(database, *_owner_of(self.folder / "passwd"))
        self._main = self._home / "mosquitto.conf"
        self._main.write_text(f"persistence true\npersistence_location {database}/\ninclude_dir {included}\n")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", self._main], stdout=log, stderr=log)
        deadline = time.monotonic() + _WAIT_S
        while not self._accepts():
            assert time.monotonic() < deadline and self._process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def reload(self) -> None:
        """Have the running broker read its files again, as `systemctl reload` does; done when this returns.

        It serves nobody between saying so in its log and having done so, being a single thread.
        """
        told = self._times_read()
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _WAIT_S
        while self._times_read() == told:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def _times_read(self) -> int:
        return self.log.read_text().count("Reloading config.")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()

    def close(self) -> None:
        """End the broker and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self.end()
        shutil.rmtree(self._home)

    def password(self, user: str) -> str:
        return (self.folder / "passwords" / user).read_text().strip()

    def address(self, user: str | None, password: str | None = None, host: str = "localhost") -> BrokerAddress:
        """The broker as a user sees it, with the user's own password unless another one is given."""
        if user is not None and password is None:
            password = self.password(user)
        return BrokerAddress(host, self.port, True, user, password, self.folder / "ca.crt")


def _owner_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid
