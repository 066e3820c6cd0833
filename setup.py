"""Writes into every package which commit it was made from; all else about packages stands in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

SOURCE = "src"
sys.path.insert(0, str(Path(__file__).resolve().parent / SOURCE))

from cnnbo.commit import RECORD, source_commit  # noqa: E402 - needs the path above


def record_commit(folder: Path) -> None:
    """Write the commit into a package that is being made, where it is known."""
    record = folder / "cnnbo" / RECORD
    record.unlink(missing_ok=True)  # of an earlier build, or linked to the source's
    if (commit := source_commit()) is not None:
        record.write_text(f"{commit}\n")


class Build(build_py):
    """What goes into a wheel."""

    def run(self) -> None:
        """Build, and note the commit; an editable installation asks git when it is run."""
        super().run()
        if not self.editable_mode:
            record_commit(Path(self.build_lib))


class SourceArchive(sdist):
    """What goes into an sdist, which has no repository to ask."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Lay out the files, and note the commit."""
        super().make_release_tree(base_dir, files)
        record_commit(Path(base_dir) / SOURCE)


setup(cmdclass={"build_py": Build, "sdist": SourceArchive})
