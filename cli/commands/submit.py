"""`cnnbo submit`: hand a study to the daemon."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.scheduler.spec import StudySpec


def submit(
    study: options.StudyFile, data: options.Data = None, state: options.State = None, json: options.Json = False
) -> None:
    """Hand a study to the running daemon and return; the same name and content goes on where it was."""
    from cnnbo.cli.intake import read_study

    folder = options.state_folder(state)
    submit_spec(read_study(study, data), folder, json)


def submit_spec(spec: "StudySpec", state: Path, json: bool) -> None:
    """Submit, and say what came of it."""
    from cnnbo.cli.intake import submission
    from cnnbo.cli.output import print_json
    from cnnbo.daemon.client import ask

    answer = ask(state, "submit", **submission(spec))
    if json:
        print_json(answer)
        return
    if spec.model is None:
        print(f"trials run in {spec.origin.cwd}, python is {spec.origin.python}")
    print(f"{spec.name}: {answer['outcome']}, {answer['finished']} of {answer['evaluations']} finished")
    print(f"next: cnnbo watch, or cnnbo show {spec.name}")
