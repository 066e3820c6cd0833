"""Files of recorded MQTT messages: JSON lines, gzipped, one message each."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDING = Path(__file__).parents[1] / "data" / "three-boxes.jsonl.gz"
"""What was recorded of three boxes, with the daemons of that day."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message as a subscriber saw it.

    Attributes:
        t: seconds since the recording began.
        topic: the whole topic.
        payload: the text of it; empty where the topic was cleared.
        is_retained: whether it was told as state, to be kept by the broker.
    """

    t: float
    topic: str
    payload: str
    is_retained: bool


def write(path: Path, messages: Iterable[Recorded]) -> None:
    """Keep messages in a file, always the same bytes for the same messages."""
    lines = "".join(json.dumps(asdict(message), separators=(",", ":")) + "\n" for message in messages)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def read(path: Path) -> Iterator[Recorded]:
    """The messages of a file, in their order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Recorded(**json.loads(line))
