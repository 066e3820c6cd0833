"""Part of a day, as administrators write it."""

import pytest

from cnnbo.scheduler.sharing import MINUTES_PER_DAY, Hours


def test_hours_may_go_over_midnight() -> None:
    """Nights are what shared boxes are free in."""
    nights, office = Hours.parse("20:00-08:00"), Hours.parse("08:00-20:00")
    for minute in range(MINUTES_PER_DAY):
        assert nights.hold(minute) is not office.hold(minute)
    assert nights.hold(20 * 60) and not nights.hold(8 * 60)
    assert str(nights) == "20:00-08:00"


@pytest.mark.parametrize("text", ["20-8", "20:00-24:00", "8:00-20:00", "08:60-20:00", "08:00 20:00", "", 2000, None])
def test_what_is_no_part_of_a_day_is_refused_with_an_example(text: object) -> None:
    """A typo must not mean "always"."""
    with pytest.raises(ValueError, match="20:00-08:00"):
        Hours.parse(text)


def test_an_empty_part_of_the_day_is_refused() -> None:
    """Nobody can tell whether it means never or always."""
    with pytest.raises(ValueError, match="begins when it ends"):
        Hours.parse("08:00-08:00")
