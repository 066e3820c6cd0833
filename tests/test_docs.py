"""What the documents promise is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from cnnbo.cli.app import app
from cnnbo.daemon.settings import KEYS, load_settings
from cnnbo.daemon.studyfile import parse_study
from cnnbo.scheduler.sharing import NO_LIMITS, Sharing

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = {
    command.name or command.callback.__name__: command for command in app.registered_commands if command.callback
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_stands_in_the_readme(name: str) -> None:
    """A command nobody is told of might as well not exist."""
    callback = COMMANDS[name].callback
    assert callback is not None and callback.__doc__
    assert f"`cnnbo {name}" in README


def test_every_data_command_stands_in_the_readme() -> None:
    """The data commands are a group of their own."""
    group = typer.main.get_command(app).commands["data"]  # type: ignore[attr-defined]
    assert all(f"`{name}`" in README or f"data {name}" in README for name in group.commands)


def test_study_files_in_the_readme_are_valid(tmp_path: Path) -> None:
    """The first thing a newcomer copies must work; a table alone may stand in the settings and in any study."""
    spirals, sharing = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    study = parse_study(f"{spirals}{sharing}", "README.md", cwd=ROOT)
    (tmp_path / "cnnbo.toml").write_text(sharing)
    settings = load_settings({"HOME": str(tmp_path), "CNNBO_CONFIG": str(tmp_path / "cnnbo.toml")})
    assert study.name == "spirals"
    assert settings.devices == Sharing(study.max_devices, study.hours, study.yields) != NO_LIMITS


def test_every_setting_is_explained(tmp_path: Path) -> None:
    """What nobody finds is set by nobody; and what the page shows must be accepted."""
    page = (ROOT / "docs/settings.md").read_text()
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE)) == set(KEYS)
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cnnbo.toml").write_text(example)
    settings = load_settings({"HOME": str(tmp_path), "CNNBO_CONFIG": str(tmp_path / "cnnbo.toml")})
    assert settings.mqtt.requests and settings.mqtt.user == "tower"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.toml")), ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    """Examples are copied; each must load as it stands."""
    assert (
        parse_study(path.read_text(), path.name, cwd=ROOT).evaluations == tomllib.loads(path.read_text())["evaluations"]
    )


def test_help_loads_nothing_heavy() -> None:
    """`cnnbo --help` answers at once: TensorFlow alone would take seconds, Rich half of the time."""
    code = (
        "import sys, contextlib, io\nfrom cnnbo.cli.app import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    app(['--help'])\n"
        "print(sorted({'tensorflow', 'numpy', 'pydantic', 'aiomqtt', 'asyncio', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
