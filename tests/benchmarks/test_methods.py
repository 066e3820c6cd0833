"""What cnnbo's methods make of chance: the peers are told values, cnnbo is told what it would be told by a user."""

import math
from collections.abc import Sequence

import pytest
from proposing import methods
from proposing.simulation import Terms

from cnnbo.scheduler.space import FloatParameter, SearchSpace

SPACE = SearchSpace((FloatParameter("x", 0.0, 1.0), FloatParameter("rate", 1e-5, 1.0, "log")))
CHANCE = 0.9
VALUES = (0.5, 0.95, 0.99, None, 0.7)
SAME_BUT_FOR_LUCK = (0.5, 0.97, 0.91, None, 0.7)

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow and its company warn of their own making

tensorflow = pytest.mark.tensorflow


def next_ask(name: str, told: Sequence[float | None], chance: float = CHANCE) -> dict[str, object]:
    """What is proposed after these values, with the surrogate in charge."""
    make, _ = methods.load(name)
    method = make(Terms(SPACE, seed=3, parallel=1, evaluations=20, chance=chance))
    for number, value in enumerate(told):
        method.ask()
        method.tell(number, value)
    return dict(method.ask())


@tensorflow
@pytest.mark.parametrize("name", ["cnnbo", "constant"])
def test_differences_among_values_at_chance_are_nothing(name: str) -> None:
    """cnnbo is told the bound as a user would tell it; the baseline has one value for all of them."""
    assert next_ask(name, VALUES) == next_ask(name, SAME_BUT_FOR_LUCK)


@tensorflow
def test_where_no_value_is_luck_every_value_counts() -> None:
    """Then the baseline is cnnbo itself, and a value at the bound is as good as told to it."""
    assert next_ask("constant", VALUES, math.inf) == next_ask("cnnbo", VALUES, math.inf)
    assert next_ask("cnnbo", VALUES, math.inf) != next_ask("cnnbo", SAME_BUT_FOR_LUCK, math.inf)


@tensorflow
def test_the_baseline_takes_chance_for_a_value() -> None:
    """It is what a user without `[report] chance` could do: the bound, told as any other value is."""
    at_the_bound = [None if value is None else min(value, CHANCE) for value in VALUES]
    assert next_ask("constant", VALUES) == next_ask("cnnbo", at_the_bound, math.inf)


@pytest.mark.parametrize("name", ["cnnbo", "constant", "random"])
def test_a_run_of_nothing_but_luck_and_failures_goes_on(name: str) -> None:
    """As the daemon's does; the design needs no surrogate."""
    assert next_ask(name, (0.95, None)).keys() == {"x", "rate"}
