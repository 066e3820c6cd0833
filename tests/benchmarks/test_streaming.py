"""Recorded streams: kept as they came, moved in time for a replay, and drawn as pictures."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import screens
from streaming.recording import Recorded, read, write
from streaming.replay import Clock
from streaming.story import Story

BEGAN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()


def told(t: float, second: int) -> Recorded:
    payload = json.dumps({"ts": f"2026-11-24T12:00:{second:02}.000Z", "note": 'a "quoted" ü'}, ensure_ascii=False)
    return Recorded(t, "cnnbo/v1/tower/study/svhn", payload, is_retained=True)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A cleared topic and a text beyond ASCII are where formats break."""
    messages = [told(0.5, 1), Recorded(2.0, "cnnbo/v1/tower/study/svhn", "", is_retained=True)]
    write(tmp_path / "a.gz", messages)
    write(tmp_path / "b.gz", messages)
    assert list(read(tmp_path / "a.gz")) == messages
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_times_are_moved_into_the_replay_and_run_faster() -> None:
    """A monitor calls what is old stale, so what is told again must look as if it happened now."""
    clock = Clock.beginning_now([told(10.0, 10)], speed=10)
    clock.replayed = BEGAN + 1000
    assert clock.recorded == BEGAN
    assert json.loads(clock.shifted(told(30.0, 30).payload))["ts"] == "2026-11-24T12:16:43.000Z"
    assert clock.shifted("online") == "online"


def test_pictures_are_drawn_from_a_recording(tmp_path: Path) -> None:
    """Pictures in documents that nobody can draw again grow old."""
    story, now = Story("tower", 2), time.time()
    messages = [*story.opening(now), *story.second(1, now)]
    write(tmp_path / "a.gz", [Recorded(k, topic, body.decode(), True) for k, (topic, body) in enumerate(messages)])
    state = screens.state_at(tmp_path / "a.gz", None)
    drawn = [screens.draw(state, picture, "tower") for picture in screens.PICTURES]
    assert all(picture.startswith("<svg") for picture in drawn)
    assert "silent" not in drawn[0]
    assert "TRIAL" in drawn[3] and "KEYS" in drawn[4]
