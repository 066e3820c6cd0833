"""What the Tab key offers: through the protocol that the shells' scripts use, and once in a real bash."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.comparisons import comparison
from tests.journals import write_state

COMMAND = Path(sys.executable).with_name("cnnbo")
SHELL_S = 60.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison whose daemon is away."""
    return write_state(tmp_path_factory.mktemp("box") / "state", comparison())


def offered(typed: str, **environment: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = typed.split(" ")
    asking = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1), "_CNNBO_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [COMMAND], env={**os.environ, **environment, **asking}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_names_of_studies_and_comparisons_are_offered(state: Path) -> None:
    """Nobody wants to type `digits-compare-random-4`."""
    assert {"small", "small-bo-1", "small-random-2"} <= set(offered("cnnbo show s", CNNBO_STATE=str(state)))
    assert offered("cnnbo best small-r", CNNBO_STATE=str(state)) == [f"small-random-{n}" for n in (1, 2, 3)]
    assert offered("cnnbo limit 1 --study small-bo-1", CNNBO_STATE=str(state)) == ["small-bo-1"]


def test_trials_of_the_named_study_are_offered(state: Path) -> None:
    """`--state` counts where it was typed already."""
    assert offered(f"cnnbo logs --state {state} small-bo-1 ") == [str(n) for n in range(1, 9)]
    assert offered(f"cnnbo show --state {state} small-bo-1 3") == ["3"]


def test_devices_are_offered_by_the_names_of_lists(state: Path) -> None:
    """A UUID can't be typed."""
    assert offered("cnnbo drain ", CNNBO_STATE=str(state)) == ["cpu-0", "cpu-1"]


def test_keys_of_the_settings_are_offered() -> None:
    """Nobody knows twenty of them by heart."""
    assert offered("cnnbo config set mqtt.p") == ["mqtt.password_file", "mqtt.port"]
    assert offered("cnnbo config unset node mqtt.po") == ["mqtt.port"]


def test_nothing_is_offered_silently_where_nothing_can_be_known(state: Path, tmp_path: Path) -> None:
    """An error in the middle of a line that somebody types would tear the screen apart."""
    (tmp_path / "journal.sqlite").write_text("no journal")
    assert offered("cnnbo show ", CNNBO_STATE=str(tmp_path)) == []
    assert offered("cnnbo show ", CNNBO_STATE=str(tmp_path / "missing")) == []
    assert offered("cnnbo show unknown ", CNNBO_STATE=str(state)) == []
    assert offered("cnnbo show ", CNNBO_STATE=str(state), CNNBO_MQTT_PORT="no port") == []
    assert offered("cnnbo show --broker mqtts://nobody.invalid ", CNNBO_STATE=str(state)) == []


@pytest.fixture
def bash(tmp_path: Path, state: Path) -> Iterator["Bash"]:
    """An interactive bash of a user with an empty home."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / "study files").mkdir()
    (tmp_path / "digits.toml").touch()
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"HOME": str(tmp_path), "PATH": path, "TERM": "dumb", "CNNBO_STATE": str(state)}
    with Bash(environment, tmp_path) as shell:
        yield shell


class Bash:
    """A shell on a terminal of its own."""

    def __init__(self, environment: dict[str, str], home: Path) -> None:
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "--rcfile", home / ".bashrc", "-i"],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=home, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> "Bash":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def type(self, text: str, until: str) -> str:
        """What the terminal shows from the first key until a text of its own comes."""
        os.write(self._terminal, text.encode())
        shown, deadline = "", time.monotonic() + SHELL_S
        while until not in shown:
            assert select.select([self._terminal], [], [], deadline - time.monotonic())[0], f"{until!r} not in {shown}"
            shown += os.read(self._terminal, 65536).decode(errors="replace")
        return shown


def test_installed_in_bash_the_tab_key_completes(bash: Bash) -> None:
    """What `--install-completion` writes must be what the shell reads; files are the shell's own business."""
    bash.type("cnnbo --install-completion\n", until="completion installed")
    bash.type("exec bash --rcfile ~/.bashrc -i\n", until="\n")
    bash.type("echo new''shell\n", until="newshell")
    assert "small-random-2   " in bash.type("cnnbo show small-random-2\t\n", until="small-random-2   ")
    bash.type("cnnbo run di\t", until="digits.toml ")
