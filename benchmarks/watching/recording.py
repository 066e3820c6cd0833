"""Recordings of what brokers carried: JSON lines, each with `t` (seconds), `broker`, `topic` and `payload`.

A payload that isn't JSON stands as a text, and an empty one, which clears its topic, as null.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message.

    Attributes:
        at: seconds, from any beginning; rises along a recording.
        broker: a name for where it came from.
        topic: the whole topic.
        payload: as it came.
    """

    at: float
    broker: str
    topic: str
    payload: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        r"""Read a line.

        Example:
            >>> Recorded.parse('{"t": 2.5, "broker": "b", "topic": "cnnbo/v1/tower/availability", "payload": "online"}')
            Recorded(at=2.5, broker='b', topic='cnnbo/v1/tower/availability', payload=b'online')

        Raises:
            ValueError, KeyError: it is none.
        """
        found = json.loads(line)
        payload = found["payload"]
        if payload is None:
            content = b""
        elif isinstance(payload, str):
            content = payload.encode()
        else:
            content = json.dumps(payload, separators=(",", ":")).encode()
        return cls(float(found["t"]), str(found["broker"]), str(found["topic"]), content)


def read_recording(path: Path) -> Iterator[Recorded]:
    """The messages of a file, in their order; its name ends in `.jsonl`, or in `.jsonl.gz` if it is compressed."""
    if path.suffix == ".gz":
        import gzip

        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(Recorded.parse, file)
    else:
        with path.open(encoding="utf-8") as file:
            yield from map(Recorded.parse, file)
