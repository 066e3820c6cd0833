"""The systemd units that travel with the package."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

SYSTEM_UNIT = "cnnbo.service"
USER_UNIT = "user/cnnbo.service"


def unit_text(unit: str, python: Path, groups: Sequence[str] = ()) -> str:
    """A unit, filled in for this box.

    Args:
        unit: its path below `systemd/`.
        python: the interpreter that has cnnbo, absolute.
        groups: of the box, to whom its devices belong.
    """
    text = (files("cnnbo") / "systemd" / unit).read_text(encoding="utf-8")
    if not groups:
        text = text.replace("SupplementaryGroups=@groups@\n", "")
    return text.replace("@python@", _escaped(str(python))).replace("@groups@", " ".join(groups))


def _escaped(path: str) -> str:
    """A path as one word of a command line in a unit, see systemd.syntax(7)."""
    plain = path.replace("%", "%%").replace("$", "$$")
    return (
        '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(c in plain for c in " \t\"'\\;") else plain
    )
