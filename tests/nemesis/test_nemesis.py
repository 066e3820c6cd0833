"""Five rounds of the nemesis with every run of the tests; `make nemesis` plays more."""

from pathlib import Path

import pytest
from tests.nemesis.checks import violations_of
from tests.nemesis.plan import draw_plan
from tests.nemesis.play import play

pytestmark = [pytest.mark.gcc, pytest.mark.mosquitto, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    "seed",
    [108, 703, 871, 931, pytest.param(990, marks=pytest.mark.tensorflow)],
)
async def test_whatever_strikes_nothing_is_lost(seed: int, tmp_path: Path, nvml_library: Path) -> None:
    """The promise of the whole product: faults at any moment, and every result kept, once, on a device of its own."""
    plan = draw_plan(seed)
    played = await play(plan, tmp_path / "round", nvml_library)
    assert not violations_of(played.evidence), f"again: make nemesis SEED={seed} ROUNDS=1; the plan was {plan}"
