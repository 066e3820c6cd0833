"""What scripts hear over MQTT while a study runs, through Debian's mosquitto_sub."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import PATIENCE_S, Box

pytestmark = pytest.mark.mosquitto

ENVELOPE = {"schema", "ts", "boot", "seq"}
PROGRESSING = """
import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
x = parser.parse_args().x
with os.fdopen(int(os.environ["CNNBO_PROGRESS_FD"]), "w") as progress:
    print(json.dumps({"step": 5, "steps": 10, "metrics": {"val_acc": 0.5}}), file=progress)
with open(os.environ["CNNBO_RESULT"] + ".new", "w") as result:
    json.dump({"value": x}, result)
os.rename(os.environ["CNNBO_RESULT"] + ".new", os.environ["CNNBO_RESULT"])
"""


@pytest.fixture
def news_box(box: Box) -> Iterator[tuple[Box, list[str]]]:
    """A daemon with its embedded broker, and the mosquitto arguments that reach it."""
    child = box.start("daemon", "--devices", "cpu:2", "--node", "tower")
    box.wait_for(child, "ready:")
    url = None
    while url is None:  # the broker starts beside the daemon, which doesn't wait for it
        url = box.json("status")["mqtt"]
    parts = urlsplit(url)
    yield box, ["-h", str(parts.hostname), "-p", str(parts.port)]


def listen(where: list[str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run mosquitto_sub to its end."""
    return subprocess.run(
        ["mosquitto_sub", *where, *arguments], text=True, capture_output=True, timeout=PATIENCE_S, check=True
    )


def bodies(lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    """JSON messages by topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        topic, _, payload = line.partition(" ")
        if payload.startswith("{"):
            found.setdefault(topic, []).append(json.loads(payload))
    return found


def test_a_whole_run_is_heard_and_the_last_word_is_what_show_says(news_box: tuple[Box, list[str]]) -> None:
    """Availability, devices, study, trials, progress and events; and no two truths at the end."""
    box, where = news_box
    # Without a pattern: its matches are progress too, and reports that come close together are merged.
    study = box.write_study(lambda text: re.sub(r"\[report\]\npattern.*\n", "", text), PROGRESSING)
    everything = subprocess.Popen(
        ["mosquitto_sub", *where, "-t", "cnnbo/v1/#", "-v"], text=True, stdout=subprocess.PIPE, bufsize=1
    )
    box.children.append(everything)
    assert everything.stdout is not None
    heard = [everything.stdout.readline().strip()]  # the subscription stands
    box.run("run", study)
    for line in everything.stdout:
        heard.append(line.strip())
        if "/study/parabola {" in line and '"state":"finished"' in line.replace(" ", ""):
            break
    everything.kill()
    found = bodies(heard)
    prefix = "cnnbo/v1/tower"
    assert f"{prefix}/availability online" in heard
    assert {f"{prefix}/device/cpu-0", f"{prefix}/device/cpu-1", f"{prefix}/event", f"{prefix}/info"} <= set(found)
    assert {f"{prefix}/study/parabola/trial/{n}" for n in range(1, 5)} <= set(found)
    assert found[f"{prefix}/study/parabola/trial/1/progress"][0]["metrics"] == {"val_acc": 0.5}
    for messages in found.values():
        assert all(set(body) >= ENVELOPE for body in messages)
        assert [body["seq"] for body in messages] == sorted({body["seq"] for body in messages})
    retained = json.loads(listen(where, "-t", f"{prefix}/study/parabola", "-C", "1").stdout)
    shown = box.json("show", "parabola")
    del shown["trials"]
    assert {key: value for key, value in retained.items() if key not in ENVELOPE} == shown


def test_an_archived_study_leaves_no_topic_behind(news_box: tuple[Box, list[str]]) -> None:
    """Orphan topics are what home automation people curse."""
    box, where = news_box
    study = box.write_study()
    box.run("run", study)
    box.run("archive", "parabola")
    attempts = 20  # of a second each: the clearing is on its way
    while (topics := listen_retained(where)) and attempts:
        attempts -= 1
    assert topics == []


def listen_retained(where: list[str]) -> list[str]:
    """Retained topics of studies, as a new subscriber finds them."""
    done = subprocess.run(
        ["mosquitto_sub", *where, "-t", "cnnbo/v1/+/study/#", "-t", "cnnbo/v1/+/availability", "-F", "%t", "-W", "1",
         "--retained-only"],
        text=True, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return [topic for topic in done.stdout.split() if "/study/" in topic]


def test_watch_once_shows_the_box(news_box: tuple[Box, list[str]]) -> None:
    """One look without staying: devices, study and best value on a plain screen, and as JSON."""
    box, _ = news_box
    study = box.write_study()
    box.run("run", study)
    screen = box.run("watch", "-1").stdout
    best = box.json("show", "parabola")["best_value"]
    assert "tower" in screen and "parabola" in screen and f"{best:.4g}"[:5] in screen
    [seen] = box.json("watch")["boxes"]
    assert (seen["node"], seen["availability"]) == ("tower", "online")
    assert seen["studies"][0]["finished"] == 4
