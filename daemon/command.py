"""How a command receives the parameters of a trial: placeholders in its arguments, and variables in its environment.

`{args}`, an argument of its own, becomes one `--name=value` per parameter; `{name}` anywhere in an argument becomes the
value of that parameter. All other braces stay as they are: JSON, awk programs, and `${NAME}`, which is the shell's.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from cnnbo.scheduler.space import Configuration, Scalar

ARGS: Final = "args"
"""The placeholder of all parameters; no parameter of a command may be called that."""

_PLACEHOLDER: Final = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_ALL: Final = f"{{{ARGS}}}"


def format_value(value: Scalar) -> str:
    """A value as a command line writes it: floats so that they read back bit for bit, booleans in lower case.

    Example:
        >>> format_value(1e-05), format_value(True), format_value("avg")
        ('1e-05', 'true', 'avg')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)


def variable_name(parameter: str) -> str:
    """The environment variable that hands a parameter to a trial.

    Example:
        >>> variable_name("optimizer.learning-rate")
        'CNNBO_PARAM_OPTIMIZER_LEARNING_RATE'
    """
    return "CNNBO_PARAM_" + re.sub(r"[^A-Z0-9]", "_", parameter.upper())


def placeholders(argument: str) -> list[str]:
    """The names that an argument asks for, `args` among them, in order."""
    return _PLACEHOLDER.findall(argument)


def command_problems(command: Sequence[str], parameters: Iterable[str]) -> list[str]:
    """What is wrong with a command, a sentence for each mistake; empty if nothing is.

    A command without any placeholder is no mistake: it may read CNNBO_TRIAL or its CNNBO_PARAM_ variables.

    Args:
        command: program and arguments as the study file has them.
        parameters: names of the study's parameters.
    """
    if not command or not command[0].strip():
        return ['command: name a program first, like ["python", "train.py", "{args}"].']
    known = list(parameters)
    problems = []
    for argument in command:
        for name in placeholders(argument):
            if name == ARGS and argument != _ALL:
                problems.append(f'command: {{args}} becomes several arguments, so "{_ALL}" must be one of its own.')
            elif name != ARGS and name not in known:
                remedy = f"the parameters are {', '.join(known)}." if known else "the study has no parameters."
                problems.append(f"command: {{{name}}} names no parameter of this study; {remedy}")
    return problems


def expand_command(command: Sequence[str], configuration: Configuration, python: str) -> tuple[str, ...]:
    """Fill a configuration into a command.

    Args:
        command: program and arguments with placeholders, without `command_problems`.
        configuration: a value for every parameter.
        python: path of the interpreter that `python` or `python3` as the first word stands for.

    Returns:
        program and arguments, ready to be executed without a shell.

    Example:
        >>> command = ["python", "train.py", "{args}", "--out=run-{lr}"]
        >>> expand_command(command, {"lr": 0.1, "width": 3}, "/opt/tf/bin/python")
        ('/opt/tf/bin/python', 'train.py', '--lr=0.1', '--width=3', '--out=run-0.1')
    """
    values = {name: format_value(value) for name, value in configuration.items()}
    expanded: list[str] = []
    for argument in command:
        if argument == _ALL:
            expanded += [f"--{name}={value}" for name, value in values.items()]
        else:
            expanded.append(_PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), argument))
    if expanded[0] in ("python", "python3"):
        expanded[0] = python
    return tuple(expanded)
