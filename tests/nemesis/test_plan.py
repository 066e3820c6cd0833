from tests.nemesis import faults
from tests.nemesis.plan import FAULTS, ORDERS, WITH_SURROGATE_EVERY, draw_plan


def test_a_seed_is_the_same_round_on_every_machine() -> None:
    """A violation that can't be repeated can't be mended."""
    assert draw_plan(17) == draw_plan(17)
    assert draw_plan(17) != draw_plan(18)


def test_everything_that_can_strike_does_within_a_night() -> None:
    """A fault that no seed draws protects nobody."""
    drawn = {strike.fault for seed in range(200) for strike in draw_plan(seed).strikes}
    assert drawn == FAULTS.keys() | ORDERS.keys() == faults.BY_NAME.keys()


def test_one_round_in_five_asks_a_surrogate() -> None:
    """TensorFlow in the proposer is slow and must not take over the night, nor be left out."""
    with_surrogate = [seed for seed in range(20) if draw_plan(seed).uses_surrogate]
    assert with_surrogate == list(range(0, 20, WITH_SURROGATE_EVERY))
