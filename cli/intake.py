"""From a study file on this machine to the request that submits it."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbo.scheduler.spec import Origin, StudySpec


def read_study(path: Path, data: str | None) -> StudySpec:
    """Read and check a study file, and fix where it was submitted: folder, environment, interpreter.

    Raises:
        ConfigurationError: with every mistake in it.
    """
    from cnnbo.daemon.studyfile import load_study

    cwd = Path.cwd()
    spec = load_study(path, cwd=cwd, data_override=data)
    origin = Origin(cwd=str(cwd), environment=dict(os.environ), python=_interpreter(spec, cwd))
    return replace(spec, origin=origin)


def _interpreter(spec: StudySpec, cwd: Path) -> str:
    """What `python` means to the trials: as written, else as the caller's shell would find it."""
    if spec.model is not None:
        return sys.executable
    if spec.trial.python is not None:
        return str(cwd / Path(spec.trial.python).expanduser())
    return shutil.which("python") or shutil.which("python3") or sys.executable


def submission(spec: StudySpec) -> dict[str, Any]:
    """The arguments of a `submit` request."""
    from cnnbo.scheduler.codec import encode_value

    return {"spec": encode_value(spec)}
