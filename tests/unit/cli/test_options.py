"""Which daemon a command's flags mean."""

from pathlib import Path

import pytest
import typer

from cnnbo.cli import options
from cnnbo.daemon.client import LocalDaemon
from cnnbo.scheduler.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CNNBO_CONFIG", "/dev/null")
    monkeypatch.setenv("CNNBO_STATE", str(tmp_path))


def test_without_a_flag_it_is_the_daemon_of_this_box(tmp_path: Path) -> None:
    """Most people have one box, and sit at it."""
    assert options.daemon_of(None, None, None) == LocalDaemon(tmp_path)
    assert options.daemon_of(tmp_path / "b", None, None) == LocalDaemon(tmp_path / "b")


def test_flags_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """An order must not go to another box than the one that was meant."""
    with pytest.raises(typer.BadParameter, match="a broker or a state folder, not both"):
        options.daemon_of(tmp_path, "mqtt://broker", None)
    with pytest.raises(typer.BadParameter, match="it goes with --broker"):
        options.daemon_of(None, None, "attic")
    with pytest.raises(ConfigurationError, match="the broker's URL must"):
        options.daemon_of(None, "http://broker", None)
