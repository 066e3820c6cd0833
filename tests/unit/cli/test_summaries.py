"""The lists of commands that `--help` shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("cnnbo")


@pytest.mark.parametrize("group", ["", "data", "broker", "config", "service"])
def test_no_summary_is_cut_at_80_columns(group: str) -> None:
    """Half a sentence sends people to the help of each command to learn which one they want."""
    shown = subprocess.run(
        [COMMAND, *group.split(), "--help"],
        env={**os.environ, "COLUMNS": "80"}, text=True, capture_output=True, check=True,
    )  # fmt: skip
    _, commands = shown.stdout.split("Commands:\n")
    assert commands.strip()
    assert [line for line in commands.splitlines() if line.endswith("...")] == []
