"""What the documentation's site has beside the pages in `docs/`.

MkDocs calls the `on_…` functions (`hooks` in mkdocs.yml): pages of the repository that lie outside of `docs/` get a
place on the site, and links between all of them lead there. `python tools/docs_site.py` writes the reference of the
commands.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import File, Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = "docs/"
COMMANDS: Final = "docs/reference/commands.md"

PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
}
"""Pages outside of `docs/`, and what they are called on the site."""

COPIED: Final = (
    "LICENSE",
    "examples/**/*.toml",
    "examples/**/*.py",
    "benchmarks/figures/*.svg",
    "benchmarks/rows/*.csv",
)
"""Other files that pages link to; they keep their places."""

_LINK: Final = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)")


def site_path(path: str) -> str:
    """Where a file of the repository is on the site."""
    return PAGES.get(path, path.removeprefix(DOCS))


def with_site_links(markdown: str, path: str) -> str:
    """The text of a page of the repository with its relative links as they are on the site."""
    here = posixpath.dirname(site_path(path))

    def moved(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith(("mailto:", "/")):
            return match[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return f"{match[1]}{posixpath.relpath(site_path(there), here or '.')}"

    return _LINK.sub(moved, markdown)


def commands_page() -> str:
    """All commands with their arguments and options, in the words of `--help`."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from cnnbo.cli.app import app

    command = get_command(app)
    context = typer.Context(command, info_name="cnnbo")
    page = get_docs_for_click(obj=command, ctx=context, name="cnnbo", title="Commands")
    page = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", "", page)  # cut summaries of what follows in full
    return f"<!-- Made by `make reference`. -->\n\n{page.rstrip()}\n"


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add what lies outside of `docs/`."""
    from mkdocs.structure.files import File

    for path, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text()))
    for pattern in COPIED:
        for file in sorted(ROOT.glob(pattern)):
            place = file.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Turn the links of the repository into those of the site."""
    return with_site_links(markdown, _path(page.file))


def _path(file: "File") -> str:
    """Where a page of the site comes from."""
    return next((path for path, place in PAGES.items() if place == file.src_uri), f"{DOCS}{file.src_uri}")


if __name__ == "__main__":
    (ROOT / COMMANDS).write_text(commands_page())
