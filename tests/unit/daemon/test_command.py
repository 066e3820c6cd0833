import json
import subprocess
import sys

import pytest

from cnnbo.daemon.command import command_problems, expand_command, variable_name
from cnnbo.scheduler.space import Configuration

CONFIGURATION: Configuration = {"lr": 1e-05, "width": 3, "nesterov": True, "pooling": "max pool"}


def test_a_script_receives_the_values_bit_for_bit() -> None:
    """What argparse reads must be the value that the journal holds, spaces in texts included."""
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    command = expand_command(
        ["python", "-c", script, "{args}", "--out=run-{lr}-{width}"], CONFIGURATION, sys.executable
    )
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [
        "--lr=1e-05",
        "--width=3",
        "--nesterov=true",
        "--pooling=max pool",
        "--out=run-1e-05-3",
    ]


@pytest.mark.parametrize("argument", ['{"a": 1}', "{print $1}", "${lr}", "${HOME}", "{}", "{a,b}", "{{", "{ lr }"])
def test_other_braces_stay_as_they_are(argument: str) -> None:
    """JSON, awk and the shell use braces too."""
    assert expand_command(["sh", argument], CONFIGURATION, "py") == ("sh", argument)
    assert command_problems(["sh", argument], CONFIGURATION) == []


def test_only_the_first_word_is_the_interpreter() -> None:
    """`env python` or an argument called python is none of our business; python3.11 is somebody's choice."""
    assert expand_command(["python3", "python"], {}, "/opt/py") == ("/opt/py", "python")
    assert expand_command(["python3.11"], {}, "/opt/py") == ("python3.11",)


def test_a_value_is_filled_in_as_it_is() -> None:
    """A choice that looks like a placeholder is not expanded again."""
    assert expand_command(["x", "{a}{b}"], {"a": "{b}", "b": 1}, "py") == ("x", "{b}1")


@pytest.mark.parametrize(
    ("command", "culprit"),
    [
        ([], "name a program first"),
        ([" "], "name a program first"),
        (["train", "--flags={args}"], "{args} becomes several arguments"),
        (["train", "--lr={learning_rate}"], "{learning_rate} names no parameter of this study; the parameters are lr"),
    ],
)
def test_mistakes_in_a_command_are_named(command: list[str], culprit: str) -> None:
    """A placeholder that is never filled in would reach the script as it stands."""
    (problem,) = command_problems(command, ["lr"])
    assert culprit in problem


def test_variable_names_are_ones_a_shell_can_read() -> None:
    """`$CNNBO_PARAM_A-B` would be read as CNNBO_PARAM_A followed by -B."""
    assert variable_name("a-b.c") == "CNNBO_PARAM_A_B_C"
