"""Writes docs/brokers.md from what both brokers do today: `python -m tests.brokers.table`."""

import asyncio
import contextlib
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.brokers.rows import ROWS
from tests.brokers.subjects import Mosquitto, Subject, embedded

PAGE = Path(__file__).parent.parent.parent / "docs" / "brokers.md"

_HEAD = """\
# How brokers behave

Written by `python -m tests.brokers.table`, which plays every row through with both brokers; the tests play all but the
slow ones. **mosquitto** is Debian's, set up by `cnnbo broker configure`, so with TLS and users, and the payload limit
that is written there. **embedded** is the one that cnnbo brings along (rumqttd, in the wheel `iotcore`): one listener
for MQTT 3.1.1 on 127.0.0.1. What that means for you stands in [security.md](security.md).

| behaviour | mosquitto | embedded | seen |
| --- | --- | --- | --- |
"""

_TAIL = """
What cnnbo makes of it: daemons publish all state again whenever they connect, so that what a broker forgets is no loss;
progress, which comes with every second, is sent with QoS 0, everything else with QoS 1; nothing needs MQTT 5, QoS 2,
shared subscriptions or sessions that outlive a connection.
"""


async def measure(subject: Subject) -> list[str]:
    """What a broker does, in the order of the rows."""
    cells = []
    for row in ROWS:
        seen = await row.check(subject)
        print(f"{subject.name}: {row.title}: {seen}{'' if row.is_as_expected(subject, seen) else '   UNEXPECTED'}")
        cells.append(seen)
    return cells


async def main() -> int:
    """Measure, and write the page; 1 if something is not as expected."""
    measured: list[tuple[Subject, list[str]]]
    with contextlib.closing(Mosquitto()) as mosquitto:
        measured = [(mosquitto, await measure(mosquitto))]
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(Path(folder)) as subject:
            measured.append((subject, await measure(subject)))
    versions = ", ".join(f"{subject.name} {subject.version}" for subject, _ in measured)
    seen = f"{datetime.now(UTC):%Y-%m-%d}, {versions.replace('embedded', 'iotcore')}"
    cells = zip(ROWS, *(cells for _, cells in measured), strict=True)
    rows = "".join(f"| {row.title} | {one} | {other} | {seen} |\n" for row, one, other in cells)
    PAGE.write_text(_HEAD + rows + _TAIL)
    return int(
        any(
            not row.is_as_expected(subject, cell)
            for subject, cells in measured
            for row, cell in zip(ROWS, cells, strict=True)
        )
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
