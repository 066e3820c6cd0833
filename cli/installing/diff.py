"""Showing what would become of a file."""

import difflib

from cnnbo.daemon.planned import PlannedFile


def diff(file: PlannedFile) -> list[str]:
    """A unified diff of a file as it is against how it should be, line by line; one that isn't there is /dev/null."""
    before = "" if file.before is None else file.before.decode(errors="replace")
    name = str(file.path)
    source = "/dev/null" if file.before is None else name
    return list(
        difflib.unified_diff(before.splitlines(), file.content.decode().splitlines(), source, name, lineterm="")
    )
