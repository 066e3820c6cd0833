"""The quick rows of docs/brokers.md."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.brokers.rows import ROWS, Row
from tests.brokers.subjects import Mosquitto, embedded

QUICK = [pytest.param(row, id=row.check.__name__) for row in ROWS if not row.is_slow]


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Mosquitto]:
    subject = Mosquitto()
    yield subject
    subject.close()


@pytest.mark.mosquitto
@pytest.mark.parametrize("row", QUICK)
async def test_mosquitto_does_what_the_table_says(row: Row, mosquitto: Mosquitto) -> None:
    """What the design rests on has to be noticed when a new version does otherwise."""
    seen = await row.check(mosquitto)
    assert row.is_as_expected(mosquitto, seen), seen


@pytest.mark.parametrize("row", QUICK)
async def test_the_embedded_broker_does_what_the_table_says(row: Row, tmp_path: Path) -> None:
    """It is pinned exactly; what a newer one does is seen here first."""
    async with embedded(tmp_path) as subject:
        seen = await row.check(subject)
        assert row.is_as_expected(subject, seen), seen
