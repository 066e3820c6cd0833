"""The core: decides what to try next and what a result means. No I/O, no clock, no asyncio.

A notebook needs no more than this package: see `Study`. Names load on first use, so that `cnnbo --help` does not pay
for numpy.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbo.scheduler.optimizers.registry import create_optimizer
    from cnnbo.scheduler.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
    from cnnbo.scheduler.spec import StudySpec
    from cnnbo.scheduler.study import Study

__all__ = [
    "CategoricalParameter",
    "FloatParameter",
    "IntParameter",
    "SearchSpace",
    "Study",
    "StudySpec",
    "create_optimizer",
]

_HOMES = {
    "CategoricalParameter": "space",
    "FloatParameter": "space",
    "IntParameter": "space",
    "SearchSpace": "space",
    "Study": "study",
    "StudySpec": "spec",
    "create_optimizer": "optimizers.registry",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
