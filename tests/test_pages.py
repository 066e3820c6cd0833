"""What a page shows works: links, commands, files, code, and what is made of the code."""

import json
import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from pydantic import BaseModel
from tests.pages import DOCS, ROOT, Block, blocks, commands, pages, prose
from tools.docs_site import COMMANDS, PAGES, commands_page
from tools.follow_tutorial import blocks as tutorial_blocks
from tools.follow_tutorial import is_as_shown

from cnnbo.cli.app import app
from cnnbo.daemon.settings import load_settings
from cnnbo.daemon.studyfile import parse_study
from cnnbo.daemon.studyfile.tables import ParameterTable, StudyTable
from cnnbo.scheduler.errors import ConfigurationError

CLI = typer.main.get_command(app)
STUDY = 'name = "x"\nmodel = "svhn-cnn"\n'
"""What a page that shows a table alone takes for granted."""


def place(block: Block) -> str:
    return f"{block.page}:{block.line}"


# -- links -------------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Names of a page's headings that both GitHub and the site give them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    names = {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
    return {name for name in names if "--" not in name}  # which the site would write as one


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    """Links between our own files, with the headings that they name."""
    broken = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", prose(page)):
        if "://" in target:
            continue
        there = (ROOT / page).parent / target if target else ROOT / page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    assert broken == []


def test_every_page_is_in_the_sites_navigation() -> None:
    """What no menu leads to is read by nobody."""

    def leaves(node: object) -> list[str]:
        below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return [str(node)] if below is None else [leaf for each in below for leaf in leaves(each)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    there = [*PAGES.values(), *(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))]
    assert sorted(leaves(nav)) == sorted(there)


# -- commands ----------------------------------------------------------------------------------------------------------


def typed(text: str) -> list[str] | None:
    """The words behind `cnnbo`, as far as they are its own; None where it is another command."""
    words = shlex.split(text, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    if not words or words[0] != "cnnbo":
        return None
    return list(takewhile(lambda word: not re.match(r"[|&<;]|\d?>", word), words[1:]))


def problem_with(words: list[str]) -> str | None:
    """Why the command line would refuse these words; nothing is run."""
    command, name = CLI, "cnnbo"
    context = typer.Context(command, info_name=name)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words[0]
        if name not in command.commands:
            return f"there is no command {name}"
        command, words = command.commands[name], words[1:]
        context = typer.Context(command, info_name=name, parent=context)
    try:
        values, rest, _ = command.make_parser(context).parse_args(words)
    except Exception as error:
        return f"{name}: {error}"
    missing = [each.name for each in command.params if each.required and values.get(each.name) is None]
    return f"{name}: too many words: {rest}" if rest else f"{name}: {missing} missing" if missing else None


def test_a_command_that_does_not_exist_is_noticed() -> None:
    """What checks the pages must itself be able to fail."""
    assert problem_with(["run", "study.toml", "--devices", "cpu:2"]) is None
    for words in (["fun"], ["run", "--speed"], ["run"], ["pause", "one", "two"], ["data", "paint", "x"]):
        assert problem_with(words)


@pytest.mark.parametrize(
    "block", [each for each in blocks("console", "sh", "bash") if each.page != COMMANDS], ids=place
)
def test_commands_exist_with_their_options(block: Block) -> None:
    """Somebody pastes them."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in commands(block):
        if (words := typed(line)) is not None:
            assert problem_with(words) is None, line
        if match := re.match(r"make ([a-z-]+)", line):
            assert match[1] in targets, line


@pytest.mark.parametrize("page", [page for page in pages() if page != "CHANGELOG.md"])
def test_commands_that_the_text_names_exist(page: str) -> None:
    """Renaming a command must not leave its name behind."""
    named = re.findall(r"`cnnbo ([a-z]+)", prose(page))
    assert [name for name in named if name not in CLI.commands] == []  # type: ignore[attr-defined]


# -- files and code ----------------------------------------------------------------------------------------------------


def is_study(text: str) -> bool:
    for before in ("", STUDY, f'{STUDY}data.dir = "digits"\n'):
        try:
            parse_study(f"{before}{text}", "page", cwd=ROOT)
        except ConfigurationError:
            continue
        return True
    return False


@pytest.mark.parametrize("block", blocks("toml"), ids=place)
def test_files_that_pages_show_are_accepted(block: Block, tmp_path: Path) -> None:
    """As a study, as a table of one, or as settings."""
    if not is_study(block.text):
        (tmp_path / "cnnbo.toml").write_text(block.text)
        load_settings({"HOME": str(tmp_path), "CNNBO_CONFIG": str(tmp_path / "cnnbo.toml")})


@pytest.mark.parametrize("block", blocks("json", "python"), ids=place)
def test_code_on_pages_can_be_read(block: Block) -> None:
    """A bracket that is missing costs every reader a minute."""
    if block.language == "python":
        compile(block.text, place(block), "exec")
    else:
        json.loads(block.text)


# -- made of the code --------------------------------------------------------------------------------------------------


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    """`make reference` writes it."""
    assert (ROOT / COMMANDS).read_text() == commands_page(), f"{COMMANDS} is out of date: make reference"


def test_every_key_of_a_study_file_is_explained() -> None:
    """In the table of its section, with no key that there isn't."""
    page = (DOCS / "study-file.md").read_text()
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    tables: dict[str, type[BaseModel]] = {"The whole study": StudyTable, "A parameter of `[space]`": ParameterTable}
    for name, field in StudyTable.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                tables[f"`[{name}]`"] = kind
    inner = {title.strip("`[]") for title in tables}  # explained by a section of their own
    for title, table in tables.items():
        keys = {field.alias or name for name, field in table.model_fields.items()} - inner
        assert set(re.findall(r"^\| `([a-z_0-9]+)` \|", sections[title], re.MULTILINE)) == keys, title


def test_sentences_that_are_explained_are_still_said() -> None:
    """People search the page for what stands on their screen; a sentence in the code may go over several lines."""
    rooms = (path for room in ("cli", "daemon", "models", "scheduler") for path in (ROOT / room).rglob("*.py"))
    source = "".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in rooms)
    headings = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    parts = [part.strip() for heading in headings for part in heading.split("…") if part.strip()]
    assert len(headings) > 20 and [part for part in parts if part not in source] == []


def test_the_tutorial_can_be_followed() -> None:
    """`make tutorial` does, which takes minutes; here only that nothing of it is passed over."""
    text = (DOCS / "tutorial.md").read_text()
    found = list(tutorial_blocks(text))
    assert len(found) == len(re.findall(r"^```\w", text, re.MULTILINE))
    assert sum(block.is_meanwhile for block in found) == 1
    assert [step.typed for block in found for step in block.steps].count("pip install 'cnnbo[bo,svhn,report]'") == 1
    assert is_as_shown("best …\n…\n", "best 1\na\nb\n") and not is_as_shown("best …\n", "worst 1\n")
