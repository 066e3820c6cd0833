"""The pages of the documentation, as tests look at them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"

_FENCE: Final = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def pages() -> list[str]:
    """Paths of all pages, from the repository's root."""
    outside = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")
    return [*outside, *sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: path of its page.
        line: where it begins, counted from 1.
        language: as the fence says; empty where it doesn't.
        text: without the fences, and without the indentation of a list that it stands in.
    """

    page: str
    line: int
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    """All blocks in one of these languages."""
    return [block for page in pages() for block in _blocks_of(page) if block.language in languages]


def _blocks_of(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text()
    for match in _FENCE.finditer(text):
        indent, language, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE))


def prose(page: str) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", (ROOT / page).read_text())


def commands(block: Block) -> Iterator[str]:
    """What somebody types of a block: behind a prompt, or, in a script, every line."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith(("$ ", "# "))]
    yield from (line.strip() for line in lines if line.strip())
