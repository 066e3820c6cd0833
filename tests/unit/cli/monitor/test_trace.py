"""The best-seen trace."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnbo.cli.monitor.trace import ASCII_PLOT, Outcome, draw_trace

_COURSE = [Outcome(1, 0.80), Outcome(2, 0.86), Outcome(3, None), Outcome(4, 0.83), Outcome(5, 0.92), Outcome(6, 0.7)]


def _draw(outcomes: list[Outcome], *, maximize: bool = True, evaluations: int = 8) -> list[str]:
    return draw_trace(outcomes, evaluations=evaluations, maximize=maximize, width=44, height=3)


def test_the_line_rises_with_the_best_and_failures_lie_on_the_floor() -> None:
    """The picture tells at a glance whether searching on is worth it."""
    assert _draw(_COURSE) == [
        " 0.920 ┤                    ╭─────",
        " 0.860 ┤     ╭──────────────╯",
        " 0.800 ┤─────╯    x    ·         v",
        "       └┬──────────────┬─────────┬─────────┬",
        "        1              4         6         8",
    ]


def test_a_loss_falls() -> None:
    """For a value to be minimised down is good, and what is worse than ever lies above."""
    flipped = [Outcome(o.trial, None if o.value is None else 1 - o.value) for o in _COURSE]
    rows = _draw(flipped, maximize=False)
    assert rows[0].startswith(" 0.200 ┤───") and "╮" in rows[0] and rows[0].endswith("^")
    assert rows[2].startswith(" 0.080 ┤") and rows[2].rstrip().endswith("─")


@pytest.mark.parametrize("maximize", [True, False])
def test_while_the_first_trial_is_the_best_the_better_half_is_shown(maximize: bool) -> None:
    """That is how most studies look in their first half hour."""
    values = [0.9, 0.5, 0.7, None, 0.8, 0.6]
    outcomes = [Outcome(k, v if v is None or maximize else 1 - v) for k, v in enumerate(values, 1)]
    rows = _draw(outcomes, maximize=maximize)
    labels = [row.split()[0] for row in rows[:3]]
    assert labels == (["0.90", "0.80", "0.70"] if maximize else ["0.30", "0.20", "0.10"])
    assert [row.count("·") for row in rows[:3]] == ([0, 1, 1] if maximize else [1, 1, 0])
    assert rows[0 if maximize else 2].count("─") > 10


@pytest.mark.parametrize("maximize", [True, False])
def test_luck_stretches_no_axis(maximize: bool) -> None:
    """Nine in ten may be there, and what matters happens in the others; it lies on the side of what is worse."""
    values = [(0.1, True), (0.80, False), (0.12, True), (0.86, False), (0.11, True), (0.84, False)]
    outcomes = [Outcome(k, v if maximize else 1 - v, luck) for k, (v, luck) in enumerate(values, 1)]
    rows = _draw(outcomes, maximize=maximize)
    labels = [float(row.split()[0]) for row in rows[:3]]
    assert (labels[0], labels[2]) == pytest.approx((0.86, 0.80) if maximize else (0.20, 0.14))
    # The line of the best goes over one of them.
    assert [row.count("o") for row in rows[:3]] == ([0, 0, 2] if maximize else [2, 0, 0])


def test_luck_alone_is_drawn_like_any_course() -> None:
    """A study that has found nothing yet is not blank."""
    values = [0.10, 0.12, 0.11]
    lucky = [Outcome(k, value, at_chance=True) for k, value in enumerate(values, 1)]
    assert _draw(lucky) == _draw([Outcome(k, value) for k, value in enumerate(values, 1)])


def test_luck_is_never_the_best_seen() -> None:
    """Its bound may differ from trial to trial."""
    rows = _draw([Outcome(1, 0.95, at_chance=True), Outcome(2, 0.5), Outcome(3, 0.6)])
    assert rows[0].startswith(" 0.600 ┤") or rows[0].split()[0].startswith("0.6")


def test_it_can_be_drawn_without_unicode() -> None:
    """Serial consoles and old terminals show a box-drawing character as three question marks."""
    plot = draw_trace(_COURSE, evaluations=8, maximize=True, width=44, height=3, glyphs=ASCII_PLOT)
    assert "".join(plot).isascii()


def test_nothing_is_drawn_of_failures_alone() -> None:
    """There is no value to put on an axis."""
    assert _draw([Outcome(1, None), Outcome(2, None)]) == []


def test_one_value_has_an_axis_too() -> None:
    """A flat line needs a scale without a span."""
    rows = _draw([Outcome(1, 0.5), Outcome(2, 0.5)])
    assert rows[1].startswith(" 0.5 ┤──")


@settings(deadline=None)
@given(
    values=st.lists(
        st.tuples(st.none() | st.floats(allow_nan=False, allow_infinity=False), st.booleans()), min_size=1, max_size=60
    ),
    maximize=st.booleans(),
    evaluations=st.integers(1, 10_000),
    width=st.integers(30, 200),
    height=st.integers(2, 10),
)
def test_any_course_fits(
    values: list[tuple[float | None, bool]], maximize: bool, evaluations: int, width: int, height: int
) -> None:
    """A line that is too long wraps and tears the whole screen."""
    outcomes = [Outcome(k, value, luck and value is not None) for k, (value, luck) in enumerate(values, 1)]
    plot = draw_trace(outcomes, evaluations=evaluations, maximize=maximize, width=width, height=height)
    assert len(plot) == (0 if all(value is None for value, _ in values) else height + 2)
    assert all(len(row) <= width for row in plot)


@pytest.mark.parametrize("evaluations", [1, 2, 7, 80, 1000, 123_456])
def test_numbers_below_the_axis_stay_apart(evaluations: int) -> None:
    """Labels that run into each other read as another number."""
    numbers = _draw([Outcome(1, 0.5), Outcome(2, 0.6)], evaluations=evaluations)[-1].split()
    assert numbers[0] == "1"
    assert all(int(number) <= max(2, evaluations) for number in numbers)
