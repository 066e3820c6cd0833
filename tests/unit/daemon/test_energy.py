"""Joules from readings."""

import pytest

from cnnbo.daemon.devices.base import Sample
from cnnbo.daemon.energy import EnergyMeter


def joules(*readings: tuple[float, Sample]) -> float | None:
    meter = EnergyMeter()
    for at, sample in readings:
        meter.take(at, {"a": sample})
    return meter.joules("a")


def test_a_counter_is_exact_however_seldom_it_is_read() -> None:
    """Power between two readings may be anything."""
    first, last = Sample(energy_j=1e6, power_w=20.0), Sample(energy_j=1e6 + 40_000, power_w=25.0)
    assert joules((0.0, first), (100.0, last)) == 40_000


def test_a_counter_that_begins_anew_takes_nothing_back() -> None:
    """The driver was loaded again."""
    assert joules((0.0, Sample(energy_j=500.0)), (1.0, Sample(energy_j=700.0)), (2.0, Sample(energy_j=10.0))) == 200


def test_power_is_integrated_where_there_is_no_counter() -> None:
    """The trapezoid rule: 2 s at 100 to 200 W, then 1 s at 200 W."""
    readings = [(0.0, 100.0), (2.0, 200.0), (3.0, 200.0)]
    assert joules(*((at, Sample(power_w=power_w)) for at, power_w in readings)) == pytest.approx(500.0)


def test_what_tells_neither_is_not_measured() -> None:
    """Zero would be a lie."""
    assert joules((0.0, Sample()), (2.0, Sample(memory_used_mib=3.0))) is None
    meter = EnergyMeter()
    meter.take(0.0, {"a": Sample(power_w=1.0), "cpu-0": Sample()})
    assert (meter.is_measured("a"), meter.is_measured("cpu-0")) == (True, False)


def test_a_reading_without_figures_leaves_a_counters_span_whole() -> None:
    """A driver that was away for a moment knows the counter afterwards."""
    assert joules((0.0, Sample(energy_j=100.0)), (5.0, Sample(fault="away")), (9.0, Sample(energy_j=400.0))) == 300
