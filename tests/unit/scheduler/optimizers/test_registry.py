import subprocess
import sys
from pathlib import Path

import pytest
from tests.contracts.optimizer import MIXED, make_history

from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.optimizers import registry


@pytest.mark.parametrize("name", registry.optimizer_names())
def test_every_name_makes_an_optimizer(name: str) -> None:
    """What the documentation lists must work."""
    points = registry.create_optimizer(name, MIXED, 0).suggest(make_history(MIXED, observed=0), 0, 1).points
    assert points.shape == (1, MIXED.dimension)


def test_a_misspelt_name_is_met_with_the_right_one() -> None:
    """A typing mistake costs a second, not a search through the documentation."""
    with pytest.raises(ConfigurationError, match="did you mean trieste"):
        registry.create_optimizer("treiste", MIXED, 0)


def test_a_strange_name_is_met_with_all_there_are() -> None:
    """Somebody who comes from another tool needs the list."""
    with pytest.raises(ConfigurationError, match="trieste, bo, random, sobol"):
        registry.canonical_name("hyperband")


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thin installation must say before the first trial what it lacks."""
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == "gpflow" else object())
    assert registry.missing_extra("bo") == "optimizer 'bo' needs gpflow, not installed here: pip install 'cnnbo[bo]'"
    assert registry.missing_extra("random") is None


def test_only_an_ask_for_the_surrogate_is_heavy() -> None:
    """The others must not wait for TensorFlow to be imported."""
    assert registry.is_heavy("bo", make_history(MIXED, observed=6, initial=6))
    assert not registry.is_heavy("bo", make_history(MIXED, observed=5, initial=6))
    assert not registry.is_heavy("bo", make_history(MIXED, observed=0, failed=8, initial=6))
    assert not registry.is_heavy("sobol", make_history(MIXED, observed=6, initial=6))


def test_light_asks_load_no_tensorflow() -> None:
    """The daemon answers them itself, and its memory is counted."""
    program = """
import sys
from tests.contracts.optimizer import MIXED, make_history
from cnnbo.scheduler.optimizers.registry import create_optimizer, missing_extra
missing_extra("trieste")
source = create_optimizer("trieste", MIXED, 0).suggest(make_history(MIXED, observed=1, initial=2), 1, 1).source
print(source, *sorted({"tensorflow", "gpflow", "trieste"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[4], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "initial"
