"""`cnnbo service`: what can be seen without a systemd; the rest is in tests/systemd."""

from pathlib import Path

from cnnbo.cli.commands import service as commands
from cnnbo.cli.installing.place import system_place
from cnnbo.cli.installing.status import interpreter_of
from cnnbo.cli.installing.units import SYSTEM_UNIT, unit_text


def test_every_service_command_stands_in_the_readme() -> None:
    """A command nobody is told of might as well not exist."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    names = [command.callback.__name__ for command in commands.app.registered_commands if command.callback]
    assert names and all(f"`cnnbo service {name}" in readme for name in names)


def test_the_interpreter_of_a_unit_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Its version is asked for there, whatever characters the path holds."""
    unit = system_place(tmp_path).unit
    unit.parent.mkdir(parents=True)
    for python in (Path("/opt/cnnbo/bin/python"), Path('/opt/50 % of "$HOME"/a\\b/bin/python')):
        unit.write_text(unit_text(SYSTEM_UNIT, python))
        assert interpreter_of(unit) == python
    unit.unlink()
    assert interpreter_of(unit) is None
