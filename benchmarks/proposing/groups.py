"""All problems by name, and the groups that are run and reported together."""

from proposing import laboratory, live, narrow
from proposing.problems import PROBLEMS, Evaluable

GROUPS: dict[str, tuple[str, ...]] = {
    "all": tuple(PROBLEMS),
    "laboratory": tuple(laboratory.PROBLEMS),
    "narrow": narrow.DEVELOPMENT,
    "narrow-final": narrow.FINAL,
    "live": live.DEVELOPMENT,
    "live-final": live.FINAL,
}
"""Names of problems. What ends in `-final` is looked at once, when nothing is changed any more."""


def group_of(name: str) -> str | None:
    """The group of a problem, also of one drawn with another seed than the group's; None for a name of no problem."""
    if (drawn := narrow.parse(name)) is not None:
        return "narrow-final" if narrow.is_held_out(drawn[1]) else "narrow"
    return next((group for group, names in GROUPS.items() if name in names), None)


def find(name: str) -> Evaluable | None:
    """The problem of that name, drawn where it is one of a recipe and a seed; None if there is none."""
    if (drawn := narrow.parse(name)) is not None:
        return narrow.draw(*drawn)
    return PROBLEMS.get(name) or laboratory.PROBLEMS.get(name) or live.PROBLEMS.get(name)


def get(name: str) -> Evaluable:
    """The problem of that name.

    Raises:
        KeyError: there is none.
    """
    if (problem := find(name)) is None:
        raise KeyError(name)
    return problem


def missing(name: str) -> str | None:
    """Why the problem of that name can't be run on this machine, as a sentence; None where it can."""
    problem = live.PROBLEMS.get(name)
    return None if problem is None else problem.network.missing()


def described() -> str:
    """Every name that `find` knows, for people."""
    listed = [*PROBLEMS, *laboratory.PROBLEMS, *live.PROBLEMS]
    drawn = [f"{recipe}-0, {recipe}-1, …" for recipe in narrow.RECIPES]
    return ", ".join([*listed, *drawn])
