"""The optimizers by name. None of them loads scipy or TensorFlow before it is asked for a point."""

import difflib
from importlib.util import find_spec

from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.optimizers.base import History, Optimizer
from cnnbo.scheduler.optimizers.random import RandomOptimizer
from cnnbo.scheduler.optimizers.sobol import SobolOptimizer
from cnnbo.scheduler.optimizers.trieste.optimizer import TriesteOptimizer, needs_surrogate
from cnnbo.scheduler.space import SearchSpace

_ALIASES = {"bo": "trieste"}
_EXTRA_MODULES = {"trieste": ("trieste", "gpflow", "tensorflow")}


def optimizer_names() -> tuple[str, ...]:
    """What may stand as `optimizer` in a study file, aliases included."""
    return ("trieste", "bo", "random", "sobol")


def canonical_name(name: str) -> str:
    """The name an alias stands for; a proper name stands for itself.

    Example:
        >>> canonical_name("bo")
        'trieste'

    Raises:
        ConfigurationError: no optimizer is called that.
    """
    if name not in optimizer_names():
        close = difflib.get_close_matches(name.lower(), optimizer_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(optimizer_names())}."
        raise ConfigurationError(f"optimizer: there is no optimizer called {name!r}; {hint}")
    return _ALIASES.get(name, name)


def missing_extra(name: str) -> str | None:
    """Why an optimizer can't run on this installation, as a sentence with the remedy; None if it can.

    Looks the packages up without importing them.

    Raises:
        ConfigurationError: no optimizer is called that.
    """
    missing = [module for module in _EXTRA_MODULES.get(canonical_name(name), ()) if find_spec(module) is None]
    if not missing:
        return None
    return f"optimizer {name!r} needs {', '.join(missing)}, not installed here: pip install 'cnnbo[bo]'"


def create_optimizer(name: str, space: SearchSpace, seed: int) -> Optimizer:
    """Build an optimizer.

    Args:
        name: one of `optimizer_names()`.
        space: what it searches.
        seed: the study's seed, >= 0.

    Raises:
        ConfigurationError: no optimizer is called that.
    """
    match canonical_name(name):
        case "random":
            return RandomOptimizer(space, seed)
        case "sobol":
            return SobolOptimizer(space, seed)
        case _:
            return TriesteOptimizer(space, seed)


def is_heavy(name: str, history: History) -> bool:
    """Whether this ask loads TensorFlow and takes seconds, so that it belongs into a process of its own.

    Raises:
        ConfigurationError: no optimizer is called that.
    """
    return canonical_name(name) == "trieste" and needs_surrogate(history)
