"""Rows made by hand."""

from collections.abc import Sequence

from proposing.simulation import Row


def row(
    observed: Sequence[float | None],
    means: Sequence[float | None] | None = None,
    *,
    problem: str = "network",
    method: str = "cnnbo",
    seed: int = 0,
    parallel: int = 4,
    ask_s: Sequence[float] = (),
    duplicates: int = 0,
    idle: bool = False,
    chance: float | None = None,
) -> Row:
    """A row with these values; without noise where `means` is left out."""
    return Row(
        problem,
        method,
        seed,
        parallel,
        {"numpy": "1"},
        list(observed),
        list(observed if means is None else means),
        ask_s=list(ask_s),
        duplicates=duplicates,
        idle=idle,
        chance=chance,
    )
