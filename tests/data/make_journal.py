"""Makes `journal_v<FORMAT>.sqlite`: what a real daemon writes down of a busy day, killed in the middle of it.

Run once when a format is new, before it is released, from the root of the repository; the file is committed:

    python -m tests.data.make_journal
"""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.journals import moved

from cnnbo.daemon.journal import JOURNAL_NAME, Journal, Receipt
from cnnbo.scheduler.codec import FORMAT_VERSION

HOME = "/home/me"
"""Where it all seems to have happened."""

SCRIPT = """\
import json, os, pathlib, sys, time
x = float(sys.argv[1].removeprefix("--x="))
place = os.environ["CNNBO_TRIAL"].split("/")
study, trial = place[-5], int(place[-3])
if trial == 2 and not pathlib.Path("mended").exists():
    sys.exit("ValueError: the data is upside down")
if study == "braked":
    sys.exit(f"KeyError: 'layer_{trial}'")
while study == "cancelled" or study == "goes-on" and trial == 5:
    time.sleep(1)
value = 1 - (x - 0.3) ** 2
if study == "goes-on" and trial == 4:
    pathlib.Path(os.environ["CNNBO_RESULT"]).write_text(json.dumps({"value": value, "chance": 0.7}))
print(f"val_acc: {value:.6f}")
"""
STUDY = """\
name = "NAME"
command = ["python", "-S", "train.py", "{args}"]
evaluations = 6
optimizer = "sobol"
metric = "val_acc"
[report]
pattern = "val_acc: ([0-9.]+)"
chance = 0.9
[space]
x = { type = "float", low = 0, high = 1 }
[trial]
python = "bin/python"
"""
COMPARE = '[compare]\nmethods = ["sobol", "random"]\nruns = 1\nconfirm = 0\ntwice = false\n'


@dataclass(frozen=True)
class Box:
    """A folder with a daemon in it, and nothing of this machine's environment."""

    folder: Path

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start `cnnbo …`."""
        environment = {
            "HOME": HOME,
            "PATH": "/usr/bin:/bin",
            "CNNBO_STATE": str(self.state),
            "CNNBO_LEASE_DIR": str(self.folder),
            "CNNBO_CONFIG": "/dev/null",
            "CNNBO_MQTT_URL": "mqtt://127.0.0.1:9",  # nobody listens there, so events wait
        }
        command = [str(Path(sys.executable).with_name("cnnbo")), *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE)

    def run(self, *arguments: str) -> str:
        """What `cnnbo …` prints; it must end well."""
        child = self.start(*arguments)
        printed, _ = child.communicate()
        assert child.returncode == 0, arguments
        return printed

    def write(self, name: str, more: str = "") -> str:
        """Write a study's file; its path."""
        path = self.folder / f"{name}.toml"
        path.write_text(STUDY.replace("NAME", name) + more)
        return str(path)

    def wait(self, study: str, **wanted: object) -> None:
        """Wait until `show` says this of a study."""
        while (shown := json.loads(self.run("show", study, "--json"))) | wanted != shown:
            time.sleep(0.1)


def live(box: Box) -> None:
    """A day in the life of a daemon whose broker is away."""
    (box.folder / "train.py").write_text(SCRIPT)
    (box.folder / "bin").mkdir()
    # A python of its own, so that the path of this one is nowhere.
    (box.folder / "bin" / "python").symlink_to(sys.executable)
    daemon = box.start("daemon", "--devices", "cpu:2")
    while not (box.state / "control.sock").exists():
        time.sleep(0.1)
    box.run("compare", "-d", box.write("compared", COMPARE))
    box.wait("compared", state="finished")
    box.run("submit", box.write("cancelled"))
    box.wait("cancelled", running=2)
    box.run("cancel", "cancelled")
    box.run("drain", "cpu-1")
    box.run("return", "cpu-1")
    box.run("limit", "1")
    box.run("limit", "none")
    box.run("submit", box.write("braked"))
    box.wait("braked", state="paused", running=0)
    box.run("submit", box.write("goes-on"))
    box.wait("goes-on", finished=5, running=1)
    (box.folder / "mended").touch()
    box.run("retry", "goes-on", "2")
    box.wait("goes-on", finished=5, failed=0, running=1)
    daemon.send_signal(signal.SIGKILL)
    daemon.communicate()


async def keep_receipt(state: Path) -> None:
    """As if the last order had come over MQTT."""
    journal = Journal(state)
    await journal.open()
    await journal.keep(Receipt("retry", '"order 7"', "0" * 64))
    await journal.close()


def main() -> None:
    """Make the file."""
    target = Path(__file__).with_name(f"journal_v{FORMAT_VERSION}.sqlite")
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder))
        live(box)
        asyncio.run(keep_receipt(box.state))
        journal = box.state / JOURNAL_NAME
        moved(journal, folder, HOME)
        with closing(sqlite3.connect(journal)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("VACUUM")
        target.write_bytes(journal.read_bytes())


if __name__ == "__main__":
    main()
