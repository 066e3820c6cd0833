"""The monitor's fold of messages."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.cli.monitor.conftest import rfc3339

from cnnbo.cli.monitor.known import Box, sorted_devices, sorted_studies
from cnnbo.cli.monitor.state import MonitorState


def _box(daemon: Any) -> Box:
    (box,) = daemon.state.boxes.values()
    assert isinstance(box, Box)
    return box


def test_a_study_is_folded_from_its_topics(tower: Any) -> None:
    """Devices, trials and summary come as separate messages and make one picture."""
    box = _box(tower)
    assert (box.node, box.availability) == ("tower", "online")
    assert [device.label for device in sorted_devices(box)] == ["0", "1", "2", "3"]
    study = box.studies["svhn"]
    assert (study.summary.finished, study.summary.evaluations) == (38, 80)
    assert study.summary.best is not None and study.summary.best.value == 0.9114
    assert [trial.outcome for trial in map(study.trials.__getitem__, (17, 38, 39))] == [
        "out_of_memory",
        "done",
        "running",
    ]
    assert study.courses[39].progress.fraction == pytest.approx(0.62)


def test_json_holds_the_topics_objects_without_their_envelopes(tower: Any) -> None:
    """Scripts read the same objects from `watch --json` as from `show --json`."""
    tower.say("study/svhn/trial/38", {"id": 38, "state": "complete", "a_later_key": [1]})
    (box,) = json.loads(json.dumps(tower.state.to_json()))["boxes"]
    (study,) = box["studies"]
    assert list(box) == ["node", "availability", "devices", "studies"]
    assert study["trials"][37] == {"id": 38, "state": "complete", "a_later_key": [1]}
    assert len(box["devices"]) == 4 and "boot" not in box["devices"][0] and "ts" not in study


@example(levels=["study", "s", "trial", "9" * 5000], payload=b"{}")  # ValueError: more digits than Python reads
@settings(deadline=None)
@given(
    levels=st.lists(st.sampled_from(["cnnbo", "v1", "tower", "device", "study", "trial", "1", "x", "", "progress"])),
    payload=st.binary(max_size=20) | st.sampled_from([b"[]", b"NaN", b'{"seq":1e400}', b'{"ts":7}', b"[" * 9999]),
)
def test_garbage_is_survived(levels: list[str], payload: bytes) -> None:
    """Anybody may publish anything on an open broker; a screen over SSH must not die of it."""
    state = MonitorState()
    for topic in ("/".join(levels), "/".join(["cnnbo/v1/tower", *levels])):
        state.apply(topic, payload, 0.0)
    json.dumps(state.to_json())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a2-\x1b", max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = [
    "ts",
    "seq",
    "boot",
    "state",
    "attempts",
    "best",
    "space",
    "metrics",
    "value",
    "step",
    "steps",
    "name",
    "index",
]


@example(topic="info", body={"seq": -1})
@settings(deadline=None)
@given(
    topic=st.sampled_from(["info", "device/d", "study/s", "study/s/trial/1", "study/s/trial/1/progress"]),
    body=st.dictionaries(st.sampled_from(_FIELDS), _JSON),
)
def test_fields_of_any_type_are_survived(topic: str, body: dict[str, object]) -> None:
    """A newer daemon may have changed a field; the rest must still be shown."""
    state = MonitorState()
    state.apply(f"cnnbo/v1/tower/{topic}", json.dumps(body).encode(), 0.0)
    assert len(state.boxes) == 1


def test_a_message_that_comes_twice_or_late_is_ignored(daemon: Any) -> None:
    """QoS 1 repeats, and a repetition must not bring an older state back."""
    old = json.dumps({"boot": "a", "seq": 1, "state": "running", "finished": 1}).encode()
    new = json.dumps({"boot": "a", "seq": 2, "state": "running", "finished": 2}).encode()
    for payload in (old, new, old):
        daemon.raw("study/svhn", payload)
    assert _box(daemon).studies["svhn"].summary.finished == 2


def test_a_new_boot_counts_from_the_start(daemon: Any, new_daemon: Callable[..., Any]) -> None:
    """After the daemon's restart its numbers are low again, and its word is the newest."""
    for _ in range(5):
        daemon.study(finished=5)
    new_daemon(boot="next").study(finished=6)
    assert _box(daemon).studies["svhn"].summary.finished == 6


def test_a_cleared_study_vanishes_in_any_order(tower: Any) -> None:
    """Archiving clears study and trials one by one; no half of it may stay on the screen."""
    tower.say("study/svhn", None)
    for number in range(1, 42):
        tower.say(f"study/svhn/trial/{number}", None)
    assert _box(tower).studies == {}


def test_a_box_that_was_taken_off_the_broker_is_forgotten(tower: Any) -> None:
    """A box that was renamed or sold must not stay on the screen as a dead one, in whatever order its topics go."""
    tower.raw("availability", b"")
    for index in range(4):
        tower.say(f"device/GPU-{index}", None)
    for number in range(1, 42):
        tower.say(f"study/svhn/trial/{number}", None)
    assert len(tower.state.boxes) == 1
    for topic in ("study/svhn", "study/svhn", "info"):
        tower.say(topic, None)
    assert tower.state.boxes == {}


def test_late_progress_brings_nothing_back(tower: Any) -> None:
    """Progress is sent without confirmation, and may come after the end of its trial or of its whole study."""
    tower.progress(38)
    assert 38 not in _box(tower).studies["svhn"].courses
    tower.say("study/svhn", None)
    tower.progress(39)
    assert _box(tower).studies == {}


def test_a_kept_message_says_nothing_of_the_clock(daemon: Any) -> None:
    """What a broker kept for an hour is an hour old; what comes fresh from a slow clock isn't."""
    body = json.dumps({"ts": "2026-11-23T13:36:07Z", "index": 0}).encode()
    for is_retained, behind_s in ((True, 0.0), (False, 3600.0)):
        daemon.state.apply("cnnbo/v1/tower/device/a", body, daemon.now, "mqtt://b", is_retained)
        assert _box(daemon).behind_s == behind_s


def test_progress_ends_with_its_trial(tower: Any) -> None:
    """A bar that stays at 62 % says that something runs."""
    tower.trial(39)
    assert 39 not in _box(tower).studies["svhn"].courses


def test_boxes_of_one_name_at_two_brokers_are_kept_apart(daemon: Any) -> None:
    """Two labs may both have a box called tower."""
    daemon.state.apply("cnnbo/v1/tower/availability", b"online", 0.0, "mqtt://a")
    daemon.state.apply("cnnbo/v1/tower/availability", b"offline", 0.0, "mqtt://b")
    assert [box.availability for box in daemon.state.boxes.values()] == ["online", "offline"]


def test_another_base_is_read_where_asked_for() -> None:
    """The base of the topics is a setting, and may have levels."""
    state = MonitorState("lab/cnnbo")
    state.apply("lab/cnnbo/v1/tower/availability", b"online", 0.0)
    state.apply("cnnbo/v1/other/availability", b"online", 0.0)
    assert [box.node for box in state.boxes.values()] == ["tower"]


def test_turns_are_told_as_lines(daemon: Any) -> None:
    """Where there is no terminal a line per turn is all there is; repetitions and figures are none."""
    assert daemon.raw("availability", b"online") == "tower online"
    assert daemon.raw("availability", b"online") is None
    assert daemon.device(0) == "tower device 0 busy"
    assert daemon.device(0, temperature_c=99.0) is None
    assert daemon.device(0, state="quarantined", reason="XID 79") == "tower device 0 quarantined: XID 79"
    assert daemon.trial(7, state="running", value=None) == "tower svhn #7 running"
    assert daemon.progress(7) is None
    assert daemon.trial(7, value=0.9088) == "tower svhn #7 done 0.9088"
    assert daemon.study(state="finished", reason="evaluations") == "tower svhn finished: evaluations"


def test_what_runs_comes_first(daemon: Any) -> None:
    """On a small terminal the rest is below the edge."""
    for name, state in (("a", "finished"), ("b", "paused"), ("c", "running")):
        daemon.study(name, state=state)
    assert [study.name for study in sorted_studies(_box(daemon))] == ["c", "b", "a"]


def test_a_broker_that_forgot_a_death_raises_nobody(tower: Any) -> None:
    """A broker that is killed comes back with its save of minutes ago, in which the dead box is online."""
    tower.raw("availability", b"offline")
    tower.is_kept = True
    assert tower.raw("availability", b"online") is None
    tower.device(0)
    assert _box(tower).availability == "offline"
    tower.is_kept = False
    tower.device(0)
    assert _box(tower).availability == "online"


def test_a_new_daemon_is_believed_though_it_came_unseen(tower: Any) -> None:
    """While we had no connection the box started again: all that is heard of that was kept by the broker."""
    tower.raw("availability", b"offline")
    tower.is_kept, tower.boot, tower.now = True, "9c1b", tower.now + 60
    tower.raw("availability", b"online")
    tower.device(0)
    assert _box(tower).availability == "online"


def test_what_was_begun_last_stands_first(daemon: Any) -> None:
    """People look for the study they have just started or paused, not for one whose name begins with an a."""
    start = daemon.now
    for name, began_s, fields in (
        ("a", 0, {}),
        ("b", 10, {}),
        ("old", 1, {"state": "finished", "ended": rfc3339(start + 2)}),
        ("new", 0, {"state": "finished", "ended": rfc3339(start + 3)}),
        ("c", 5, {"state": "paused"}),
        ("d", 0, {"state": "paused"}),
        ("a", 0, {"finished": 39}),
    ):
        daemon.now += 1
        daemon.study(name, started=rfc3339(start + began_s), **fields)
    assert [study.name for study in sorted_studies(_box(daemon))] == ["b", "a", "d", "c", "new", "old"]


def test_lines_tell_the_best_and_not_what_waits(tower: Any) -> None:
    """Whoever reads a file of lines looks for progress; that a trial waits for its turn is none."""
    assert tower.trial(50, state="pending", value=None) is None
    best = {"trial": 38, "value": 0.95, "configuration": {}}
    assert tower.study(best=best) == "tower svhn BEST 0.95 (#38)"
    assert tower.study(best=best, finished=39) is None
