"""Recordings of what brokers carried, and pictures drawn from them."""

import gzip
import json
import time
from pathlib import Path

import screens
from watching.recording import Recorded, read_recording
from watching.story import Story


def _write(path: Path, text: str) -> Path:
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write(text)
    return path


def test_a_recording_comes_back_as_the_bytes_that_were_sent(tmp_path: Path) -> None:
    """Objects, the two words of availability, and the empty payload that clears a topic."""
    lines = [
        {"t": 0, "broker": "b", "topic": "cnnbo/v1/tower/availability", "payload": "online"},
        {"t": 1.5, "broker": "b", "topic": "cnnbo/v1/tower/device/GPU-0", "payload": {"index": 0}},
        {"t": 2, "broker": "b", "topic": "cnnbo/v1/tower/device/GPU-0", "payload": None},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for name in ("a.jsonl", "a.jsonl.gz"):
        found = list(read_recording(_write(tmp_path / name, text)))
        assert [message.payload for message in found] == [b"online", b'{"index":0}', b""]
        assert found[1] == Recorded(1.5, "b", "cnnbo/v1/tower/device/GPU-0", b'{"index":0}')


def test_pictures_are_drawn_from_a_recording(tmp_path: Path) -> None:
    """Pictures in documents that nobody can draw again grow old."""
    story, now = Story("tower", 2), time.time()
    messages = [*story.opening(now), *story.second(1, now)]
    lines = (
        json.dumps({"t": k, "broker": "b", "topic": topic, "payload": payload.decode()})
        for k, (topic, payload) in enumerate(messages)
    )
    state = screens.state_at(_write(tmp_path / "a.jsonl", "\n".join(lines)), None)
    drawn = [screens.draw(state, picture, "tower") for picture in screens.PICTURES]
    assert all(picture.startswith("<svg") for picture in drawn)
    assert "TRIAL" in drawn[3] and "KEYS" in drawn[4]
