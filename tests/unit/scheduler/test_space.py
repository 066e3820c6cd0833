"""The encoding that every optimizer and every journal relies on."""

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, Parameter, Scale, SearchSpace

SPACE = SearchSpace(
    (
        FloatParameter("rate", 1e-5, 1.0, "log"),
        FloatParameter("decay", 0.5, 0.999, "reverse-log"),
        FloatParameter("keep", 0.2, 1.0),
        IntParameter("width", 3, 10),
        IntParameter("batch", 16, 1024, "log"),
        CategoricalParameter("pooling", ("max", "avg", True, 1)),
    )
)
points = st.tuples(*[st.floats(0, 1)] * SPACE.dimension)


@given(points)
def test_every_point_of_the_cube_is_a_valid_configuration(point: tuple[float, ...]) -> None:
    """An optimizer may propose any point of the cube, corners included."""
    assert SPACE.problems_with(SPACE.decode(point)) == []


@given(points)
def test_canonical_points_stand_for_their_configuration(point: tuple[float, ...]) -> None:
    """What is stored must decode to what was tried, and stay put when canonicalised again."""
    canonical = SPACE.canonical(point)
    assert SPACE.decode(canonical) == SPACE.decode(point)
    assert all(0 <= u <= 1 for u in canonical)


_scales: st.SearchStrategy[Scale] = st.sampled_from(["linear", "log", "reverse-log"])
_edges = st.sampled_from([0.0, 1e-300, 1e-5, 0.5, 1 - 1e-16, 1 - 1e-9, 1.0, 1e10, 1e300, 5e-324, 10000000000.000002])
_bounds = _edges | _edges.map(lambda edge: -edge) | st.floats(allow_nan=False, allow_infinity=False)
_wholes = st.integers(-(2**40), 2**40) | st.integers(-3, 3).map(lambda n: 2**40 + n) | st.just(10**400)
_choices = st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.sampled_from(["", "1", "a", "True"])
parameters: st.SearchStrategy[Callable[[], Parameter]] = (
    st.tuples(_bounds, _bounds, _scales).map(lambda p: lambda: FloatParameter("p", *p))
    | st.tuples(_wholes, _wholes, _scales).map(lambda p: lambda: IntParameter("p", *p))
    | st.lists(_choices, max_size=6).map(lambda choices: lambda: CategoricalParameter("p", tuple(choices)))
)
"""Builders of parameters with bounds of any kind; those that make no sense are refused."""


@example(build=lambda: IntParameter("p", -(2**53), 2**53), u=1.0)  # another value came back
@example(build=lambda: IntParameter("p", 1, 2**48, "log"), u=0.999)  # another value came back
@example(build=lambda: IntParameter("p", 0, 10**400), u=0.5)  # OverflowError
@example(build=lambda: FloatParameter("p", -1e308, 1e308), u=0.5)  # the span is infinite
@example(build=lambda: FloatParameter("p", 0.0, 1 - 1e-16, "reverse-log"), u=1.0)
@example(build=lambda: FloatParameter("p", 1e10, 10000000000.000002, "log"), u=0.5)  # ZeroDivisionError
@example(build=lambda: FloatParameter("p", -1e-300, 0.5), u=0.0)  # -0.0
@given(parameters, st.floats(0, 1) | st.sampled_from([0.0, 1.0]))
def test_a_stored_point_and_its_value_stand_for_each_other_bit_for_bit(
    build: Callable[[], Parameter], u: float
) -> None:
    """What is tried is what was stored, whatever the bounds; bounds for which that can't be are refused."""
    try:
        parameter = build()
    except ConfigurationError as error:
        assert all(problem.startswith("space.p: ") for problem in error.problems)
        return
    value = parameter.decode(u)
    assert parameter.problem_with(value) is None
    stored = parameter.encode(value)
    assert 0.0 <= stored <= 1.0
    assert (repr(parameter.decode(stored)), repr(parameter.encode(parameter.decode(stored)))) == (
        repr(value),
        repr(stored),
    )


@given(parameters, st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_distinct_choices_and_numbers_stay_distinct(build: Callable[[], Parameter], coordinates: list[float]) -> None:
    """Two configurations with one point would be tried once; numbers keep their order."""
    try:
        parameter = build()
    except ConfigurationError:
        return
    if isinstance(parameter, CategoricalParameter):
        assert len({parameter.encode(choice) for choice in parameter.choices}) == len(parameter.choices)
        assert [parameter.decode(parameter.encode(choice)) for choice in parameter.choices] == [*parameter.choices]
    else:
        values = [parameter.decode(u) for u in sorted(coordinates)]
        assert values == sorted(values)
        assert len({parameter.encode(value) for value in values}) == len(set(values))


def test_whole_numbers_and_choices_sit_at_bin_centres() -> None:
    """Bin centres keep rounding away from edges, where a float's last bit would decide."""
    space = SearchSpace((IntParameter("n", 1, 4), CategoricalParameter("c", ("a", "b"))))
    assert space.encode({"n": 2, "c": "b"}) == (1.5 / 4, 1.5 / 2)
    assert space.decode((0.999, 0.499)) == {"n": 4, "c": "a"}


def test_scales_spread_the_region_they_are_for() -> None:
    """Half of a log axis lies below the geometric mean; half of a reverse-log axis lies close to one."""
    assert math.isclose(FloatParameter("x", 1e-4, 1.0, "log").decode(0.5), 1e-2)
    assert math.isclose(FloatParameter("x", 0.0, 0.9999, "reverse-log").decode(0.5), 0.99)


def test_values_are_short_enough_to_read() -> None:
    """People paste values into commands; a millionth of the range is finer than any effect."""
    assert len(repr(FloatParameter("x", 0.2, 1.0).decode(1 / 3))) <= 9


def test_equal_choices_of_different_type_stay_apart() -> None:
    """True equals 1 in Python, but not to the script that is handed it."""
    parameter = CategoricalParameter("c", (True, 1, 1.0))
    assert [parameter.encode(choice) for choice in (True, 1, 1.0)] == [1 / 6, 3 / 6, 5 / 6]


def test_size_counts_configurations() -> None:
    """A finite space ends; one with a float does not."""
    assert SearchSpace((IntParameter("n", 1, 4), CategoricalParameter("c", ("a", "b")))).size == 8
    assert SPACE.size is None


@pytest.mark.parametrize(
    ("build", "culprit"),
    [
        (lambda: FloatParameter("x", 1.0, 1.0), "low is 1.0, high is 1.0"),
        (lambda: FloatParameter("x", 0.0, 1.0, "log"), "Try low = 1e-06"),
        (lambda: FloatParameter("x", 0.5, 1.0, "reverse-log"), "Try high = 0.999"),
        (lambda: FloatParameter("x", float("nan"), 1.0), "finite"),
        (lambda: FloatParameter("x", -1e308, 1e308), "too far apart"),
        (lambda: FloatParameter("x", 1e10, 10000000000.000002, "log"), "too close to tell apart"),
        (lambda: IntParameter("x", 0, 2**41), r"up to 2\*\*40"),
        (lambda: CategoricalParameter("x", (math.nan, 1.0)), "must be finite"),
        (lambda: IntParameter("x", 5, 3), "low is 5, high is 3"),
        (lambda: IntParameter("x", 1, 3, "reverse-log"), "float"),
        (lambda: FloatParameter("x", 1.0, 1.0), "leave a value that never changes out of the space"),
        (lambda: IntParameter("x", 5, 5), "leave a value that never changes out of the space"),
        (
            lambda: CategoricalParameter("x", ("a",)),
            "at least two .* leave a value that never changes out of the space",
        ),
        (lambda: CategoricalParameter("x", ("a", "a")), "twice"),
        (lambda: SearchSpace(()), "at least one"),
        (lambda: SearchSpace((IntParameter("n", 1, 2), IntParameter("n", 1, 3))), "n is named twice"),
        (lambda: SPACE.encode({"rate": 5, "colour": "red"}), "colour is no parameter"),
    ],
)
def test_nonsense_is_refused_by_name(build: object, culprit: str) -> None:
    """Bad bounds must name the culprit and what to do, not fail later inside an optimizer."""
    with pytest.raises(ConfigurationError, match=culprit):
        build()  # type: ignore[operator]
