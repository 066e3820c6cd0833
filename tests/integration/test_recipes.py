"""The recipes of `docs/mqtt.md`, taken out of it and run against a real daemon and its embedded broker."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.api import DOCS, mosquitto_options, shell_block, shell_blocks
from tests.integration.conftest import PATIENCE_S, SCRIPT, Box

from cnnbo.daemon.client import ask

pytestmark = pytest.mark.mosquitto

TIMED_OUT = 27  # exit status of mosquitto_sub after -W
# A part of each block that is run here; those that ask the daemon are run in test_request_recipes.py.
AVAILABILITY, STUDIES, NEXT_EVENT, ENDED, EVERYTHING, CLEANED, FOLLOWED = (
    "+/availability", "-F '%t %p'", "+/event' -C 1", "until", "'%j'", "--remove-retained", "follow.py",
)  # fmt: skip
RUN_HERE = (AVAILABILITY, STUDIES, NEXT_EVENT, ENDED, EVERYTHING, CLEANED, FOLLOWED)


@dataclass
class Tower:
    """A box called tower whose study svhn is finished, and the environment that leads to its broker."""

    box: Box
    url: str
    environment: dict[str, str]

    def start(self, block: str) -> "subprocess.Popen[str]":
        """Start a block of the page; only the address of the broker is replaced where it stands in the text."""
        text = block.replace("mqtt://127.0.0.1:1883", self.url)
        child = subprocess.Popen(
            ["bash", "-c", text], cwd=DOCS.parent, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.box.children.append(child)
        return child

    def run(self, part: str) -> str:
        """Run a block to its end and return what it prints."""
        child = self.start(shell_block(part))
        output, errors = child.communicate(timeout=PATIENCE_S)
        assert child.returncode in (0, TIMED_OUT) and errors.replace("Timed out\n", "") == ""
        return output


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tower]:
    box = Box(tmp_path_factory.mktemp("tower"))
    daemon = box.start("daemon", "--devices", "cpu:2", "--node", "tower")
    try:
        box.wait_for(daemon, "ready:")
        while (url := box.json("status")["mqtt"]) is None:
            pass  # the broker starts beside the daemon, which doesn't wait for it
        host, _, port = url.removeprefix("mqtt://").partition(":")
        environment = mosquitto_options(box.folder, f"-h {host}\n-p {port}\n")
        box.run("run", box.write_study(lambda text: text.replace("parabola", "svhn")))
        yield Tower(box, url, environment)
    finally:
        for child in box.children:
            child.kill()
            child.communicate()


def test_every_block_is_run_somewhere() -> None:
    """A recipe that nobody tries is a guess."""
    here = [shell_block(part) for part in RUN_HERE]
    assert [block for block in shell_blocks() if block not in here and "mosquitto_pub" not in block] == []


def test_boxes_and_their_studies(tower: Tower) -> None:
    """The first two things anybody tries."""
    assert "cnnbo/v1/tower/availability online" in tower.run(AVAILABILITY)
    [line] = tower.run(STUDIES).splitlines()
    topic, _, payload = line.partition(" ")
    assert (topic, json.loads(payload)["state"]) == ("cnnbo/v1/tower/study/svhn", "finished")


def test_the_next_event(tower: Tower) -> None:
    """Scripts wait for something to happen, and go on."""
    waiting = tower.start(shell_block(NEXT_EVENT))
    while waiting.poll() is None:  # it doesn't say when its subscription stands
        ask(tower.box.state, "drain", device="0")
        ask(tower.box.state, "return", device="0")
    assert json.loads(waiting.communicate()[0])["event"] in ("device_drained", "device_returned")


def test_waiting_for_a_study_that_has_ended(tower: Tower) -> None:
    """A script that begins late must not wait for ever."""
    assert '"state":"finished"' in tower.run(ENDED)


def test_everything_as_json(tower: Tower) -> None:
    """What is kept in a file must be lines of JSON."""
    topics = {json.loads(line)["topic"] for line in tower.run(EVERYTHING).splitlines()}
    assert {"cnnbo/v1/tower/info", "cnnbo/v1/tower/study/svhn/trial/4"} <= topics


def test_a_box_that_is_gone_is_cleaned_up(tower: Tower) -> None:
    """And no other."""
    leave = ["mosquitto_pub", "-r", "-q", "1", "-t", "cnnbo/v1/old-box/study/x", "-m", "{}"]
    subprocess.run(leave, env=tower.environment, check=True)
    tower.run(CLEANED)
    everything = tower.run(EVERYTHING)
    assert "old-box" not in everything and "cnnbo/v1/tower/info" in everything


@pytest.fixture
def gate(tower: Tower) -> Iterator[Path]:
    """A file for which the trials of a second study wait before they report."""
    gate = tower.box.folder / "gate"
    waits = "import time\nwhile not os.path.exists('gate'): time.sleep(0.05)\n"
    script = SCRIPT.replace("parser = ", f"{waits}parser = ", 1)
    study = tower.box.write_study(lambda text: text.replace("parabola", "gated"), script)
    tower.box.run("submit", study)
    yield gate
    ask(tower.box.state, "delete", study="gated")


def test_a_study_is_followed_in_python(tower: Tower, gate: Path) -> None:
    """The file people start from: each trial once, and an end."""
    following = tower.start(shell_block(FOLLOWED).replace(" svhn", " gated"))
    assert following.stderr is not None
    assert following.stderr.readline() == "following gated\n"
    gate.touch()
    output, errors = following.communicate(timeout=PATIENCE_S)
    *trials, end = output.splitlines()
    assert (following.returncode, errors) == (0, "")
    assert sorted(line.split()[0] for line in trials) == ["#1", "#2", "#3", "#4"]
    assert end.startswith("gated finished: best 0.")


def test_a_study_that_has_ended_is_told_at_once(tower: Tower) -> None:
    """Following begins with what is retained."""
    following = tower.start(shell_block(FOLLOWED))
    output, _ = following.communicate(timeout=PATIENCE_S)
    assert output.splitlines()[-1].startswith("svhn finished: best 0.") and following.returncode == 0
