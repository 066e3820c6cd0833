import pytest

from cnnbo.scheduler.optimizers.trieste.hint import Hint


def test_a_hint_survives_bit_for_bit() -> None:
    """A repeated ask must start its fit at the very same place."""
    hint = Hint((0.1, -1 / 3, 1e-300), (2.0**0.5,))
    assert Hint.from_bytes(hint.to_bytes()) == hint


@pytest.mark.parametrize("data", [None, b"", b"\xff\xfe", b"3", b'{"format":99,"objective":[1]}'])
def test_what_is_no_hint_is_an_empty_one(data: bytes | None) -> None:
    """It only saves time; a journal of another version must not stop a study."""
    assert Hint.from_bytes(data) == Hint()


def test_a_number_beyond_all_floats_is_no_hint() -> None:
    """JSON knows no limit, a fit does."""
    assert Hint.from_bytes(b'{"format":1,"objective":[1' + b"0" * 400 + b'],"feasibility":null}') == Hint()


def test_a_spoilt_half_spoils_only_itself() -> None:
    """JSON of other programs may hold NaN, which no fit can start at."""
    assert Hint.from_bytes(b'{"format":1,"objective":[NaN],"feasibility":[1]}') == Hint(None, (1.0,))
