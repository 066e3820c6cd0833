"""A service, a colleague in its group and one who isn't: real users, in a mount namespace of their own.

There the paths are those of a service, and nobody else on this machine sees anything of it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import CNNBO, PATIENCE_S, SCRIPT, STUDY

USERS = {"cnnbo": 64001, "alice": 64002, "mallory": 64003}
REPOSITORY = Path(__file__).parents[2]

PASSWD = "".join(f"{name}:x:{number}:{number}::/run/home/{name}:/bin/sh\n" for name, number in USERS.items())
GROUP = f"cnnbo:x:{USERS['cnnbo']}:alice\nalice:x:{USERS['alice']}:\nmallory:x:{USERS['mallory']}:\n"


def _closed_folder(path: Path) -> Path | None:
    """The outermost folder on the way to a path that other users may not pass."""
    for folder in [*reversed(path.parents), path]:
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _opening(*paths: Path) -> list[str]:
    """Commands that let every user of the namespace at folders whose way is closed, as below /root."""
    commands = []
    for number, path in enumerate(paths):
        if (closed := _closed_folder(path)) is not None:
            commands += [f"mkdir /run/kept-{number}", f"mount --bind '{path}' /run/kept-{number}"]
            commands += [f"mountpoint -q '{closed}' || mount -t tmpfs -o mode=755 tmpfs '{closed}'"]
            commands += [f"mkdir -p '{path}'", f"mount --bind /run/kept-{number} '{path}'"]
    return commands


def _setup(folder: Path) -> str:
    """A box with three users, and the folders that systemd makes for the service."""
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + PASSWD)
    (folder / "group").write_text(Path("/etc/group").read_text() + GROUP)
    commands = ["mount --make-rprivate /", f"mount --bind {folder}/passwd /etc/passwd"]
    commands += [f"mount --bind {folder}/group /etc/group"]
    commands += [f"mount -t tmpfs -o mode=755 tmpfs {place}" for place in ("/run", "/var/lib", "/var/log")]
    commands += ["mkdir -m 1777 /run/lock", "mkdir -m 700 /var/lib/cnnbo", "mkdir -m 750 /run/cnnbo /var/log/cnnbo"]
    commands += [f"mkdir -m 755 -p /run/home/{user}" for user in USERS]
    commands += _opening(Path(sys.base_prefix), REPOSITORY, Path(sys.prefix))
    commands += ["chown cnnbo:cnnbo /run/cnnbo /var/lib/cnnbo /var/log/cnnbo"]
    commands += [f"chown {user}: /run/home/{user}" for user in USERS]
    return "\n".join(["set -e", *commands, "echo ready", "exec cat"])


@dataclass
class Lab:
    """A namespace with a service in it.

    Attributes:
        pid: of a process in it.
    """

    pid: int

    def _command(self, user: str, *command: str | Path) -> list[str]:
        number = USERS[user]
        groups = f"--groups={number}" if user != "alice" else f"--groups={number},{USERS['cnnbo']}"
        return [
            *("nsenter", f"--target={self.pid}", "--mount"),
            *("setpriv", f"--reuid={number}", f"--regid={number}", groups, "--no-new-privs"),
            *("env", f"--chdir=/run/home/{user}"),
            *map(str, command),
        ]

    def _environment(self, user: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": f"/run/home/{user}", "CNNBO_CONFIG": os.devnull, "LANG": "C.UTF-8"}

    def run(self, user: str, *arguments: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run `cnnbo …` as a user, to its end."""
        done = subprocess.run(
            self._command(user, CNNBO, *arguments), env=self._environment(user), text=True, capture_output=True,
            timeout=PATIENCE_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr and "a bug" not in done.stderr
        return done

    def json(self, user: str, *arguments: str) -> Any:
        return json.loads(self.run(user, *arguments, "--json").stdout)

    def write(self, user: str, name: str, text: str) -> Path:
        """Write a file into a user's folder, for everybody to read."""
        path = Path(f"/run/home/{user}/{name}")
        subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "tee", path], input=text, text=True, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return path

    def stat(self, path: str) -> str:
        command = ["nsenter", f"--target={self.pid}", "--mount", "stat", "--format=%A %U %G %N", path]
        return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()

    @contextmanager
    def service(self) -> Iterator[None]:
        """The service, as systemd starts it."""
        folders = {"STATE_DIRECTORY": "/var/lib/cnnbo", "RUNTIME_DIRECTORY": "/run/cnnbo"}
        folders |= {"LOGS_DIRECTORY": "/var/log/cnnbo"}
        with subprocess.Popen(
            self._command("cnnbo", CNNBO, "daemon", "--devices", "cpu:1", "--node", "tower"), text=True,
            env=self._environment("cnnbo") | folders, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        ) as daemon:  # fmt: skip
            assert daemon.stdout is not None
            seen = []
            for line in daemon.stdout:
                seen.append(line)
                if "ready:" in line:
                    break
            else:
                raise AssertionError("".join(seen))
            try:
                yield
            finally:
                daemon.terminate()
                daemon.communicate()
                assert daemon.returncode == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A box with a service that has finished a study."""
    if os.getuid() != 0:
        pytest.skip("only root may start processes of other users")
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _setup(tmp_path_factory.mktemp("lab"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdin is not None and holder.stdout is not None and holder.stderr is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no mounts of one's own can be made here: {holder.stderr.read().strip()}")
        lab = Lab(holder.pid)
        with lab.service():
            lab.write("cnnbo", "train.py", SCRIPT)
            study = lab.write("cnnbo", "study.toml", STUDY.replace("PYTHON", sys.executable))
            lab.run("cnnbo", "run", study)
            yield lab


def test_the_socket_is_open_to_the_group_and_the_state_folder_to_nobody(lab: Lab) -> None:
    """The journal holds callers' environments, tokens too; scripts that name the state folder still find the socket."""
    assert lab.stat("/run/cnnbo/control.sock").startswith("srw-rw---- cnnbo cnnbo")
    assert lab.stat("/var/lib/cnnbo/control.sock").endswith("-> '/run/cnnbo/control.sock'")
    assert lab.stat("/var/lib/cnnbo").startswith("drwx------ cnnbo")
    assert lab.json("cnnbo", "status", "--state", "/var/lib/cnnbo")["daemon"] is not None
    assert lab.stat("/var/log/cnnbo/broker.log").startswith("-rw")


def test_a_colleague_in_the_group_reads_what_trials_printed(lab: Lab) -> None:
    """The log lies in the state folder, which is closed to them."""
    assert "| val_acc: " in lab.run("alice", "show", "parabola", "1").stdout
    assert lab.run("alice", "logs", "parabola", "2", "-f").stdout.startswith("val_acc: 0.1\nval_acc: ")


@pytest.mark.long
def test_a_colleague_in_the_group_reads_everything(lab: Lab) -> None:
    """None of these may need a file of the state folder."""
    assert lab.json("alice", "status")["daemon"]["state"] == "/var/lib/cnnbo"
    assert lab.json("alice", "show", "parabola")["state"] == "finished"
    assert len(lab.json("alice", "trials", "parabola")) == 4
    assert "x" in lab.json("alice", "best", "parabola")["configuration"]
    assert [device["uuid"] for device in lab.json("alice", "devices")] == ["cpu-0"]
    assert "parabola" in lab.run("alice", "watch", "-1").stdout
    assert lab.run("alice", "logs", "parabola", "2", "-n", "1").stdout.count("\n") == 1
    assert "has no trial 9" in lab.run("alice", "logs", "parabola", "9", code=1).stderr


@pytest.mark.long
def test_a_colleague_in_the_group_gives_orders(lab: Lab) -> None:
    """What is drained or limited names who did it."""
    lab.run("alice", "drain", "cpu-0")
    assert lab.json("alice", "devices")[0]["reason"] == "drained by alice"
    lab.run("alice", "return", "cpu-0")
    lab.run("alice", "limit", "0")
    assert lab.json("alice", "status")["limit"] == 0
    study = lab.write("cnnbo", "more.toml", STUDY.replace("PYTHON", sys.executable).replace("parabola", "more"))
    lab.run("cnnbo", "submit", study)
    lab.run("alice", "pause", "more")
    assert lab.json("alice", "show", "more")["state"] == "paused"
    lab.run("alice", "resume", "more")
    lab.run("alice", "cancel", "more")
    lab.run("alice", "limit", "none")


def test_nobody_but_the_service_has_commands_run(lab: Lab) -> None:
    """They would run as the service, which can read everybody's results."""
    lab.write("alice", "train.py", SCRIPT)
    study = lab.write("alice", "mine.toml", STUDY.replace("PYTHON", sys.executable).replace("parabola", "mine"))
    assert "command" in lab.run("alice", "submit", study, code=1).stderr
    assert all(study["name"] != "mine" for study in lab.json("alice", "status")["studies"])


@pytest.mark.long
@pytest.mark.tensorflow
def test_a_colleague_in_the_group_submits_a_built_in_model(lab: Lab) -> None:
    """That code is cnnbo's own."""
    lab.run("alice", "data", "synth", "/run/home/alice/digits", "--train", "60", "--extra", "40", "--test", "20")
    lab.run("alice", "limit", "0")
    text = 'name = "digits"\nmodel = "svhn-cnn"\nevaluations = 2\noptimizer = "sobol"\n[data]\ndir = "digits"\n'
    lab.run("alice", "submit", lab.write("alice", "digits.toml", text))
    assert lab.json("alice", "show", "digits")["owner"] == "alice"
    lab.run("alice", "cancel", "digits")
    lab.run("alice", "limit", "none")


def test_who_is_not_in_the_group_is_told_what_to_type(lab: Lab) -> None:
    """ "Permission denied" would send them to the administrator with nothing to say."""
    typed = "sudo usermod -aG cnnbo mallory"
    for arguments in (("status",), ("logs", "parabola"), ("pause", "parabola")):
        error = lab.run("mallory", *arguments, code=1).stderr
        assert typed in error and "log in again" in error
    assert typed in lab.run("mallory", "status", "--state", "/var/lib/cnnbo", code=1).stderr
