"""Which commit this code was made from. Standard library only: `setup.py` asks, too, while it builds a package."""

import subprocess
from pathlib import Path

RECORD = "commit.txt"
"""File beside this one that `setup.py` writes into packages; a checkout has none."""

_GIT_S = 10.0


def source_commit() -> str | None:
    """The whole hash, with `-dirty` behind it where files of the checkout differ from it; None = unknown."""
    folder = Path(__file__).resolve().parent
    return _checked_out(folder) or _recorded(folder)


def version_text() -> str:
    """Version and commit as people see them, like `0.1.0 (1e15225)`."""
    from cnnbo import __version__

    return as_text(__version__, source_commit())


def as_text(version: str, commit: str | None) -> str:
    """A version and a commit of `source_commit`, in short."""
    if commit is None:
        return version
    return f"{version} ({commit[:7]}{'-dirty' if commit.endswith('-dirty') else ''})"


def _checked_out(folder: Path) -> str | None:
    # Asked of this very file: an environment, or an unpacked package, may lie inside of somebody else's repository.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=_GIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _recorded(folder: Path) -> str | None:
    try:
        return (folder / RECORD).read_text().strip() or None
    except OSError:
        return None
