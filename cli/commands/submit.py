"""`cnnbo submit`: hand a study to the daemon."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.scheduler.spec import StudySpec


def submit(
    study: options.StudyFile,
    data: options.Data = None,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Hand a study to the running daemon and return. The same name and content goes on where it was."""
    from cnnbo.cli.intake import read_study, remote_submission
    from cnnbo.daemon.client import LocalDaemon

    daemon = options.daemon_of(state, broker, node)
    if isinstance(daemon, LocalDaemon):
        submit_spec(read_study(study, data), daemon.state, json)
    else:
        _print_answer(daemon.ask("submit", **remote_submission(study, data)), json)


def submit_spec(spec: "StudySpec", state: Path, json: bool) -> None:
    """Submit to the daemon of a state folder, and say what came of it."""
    from cnnbo.cli.intake import submission
    from cnnbo.daemon.client import ask

    answer = ask(state, "submit", **submission(spec))
    if spec.model is None and not json:
        print(f"trials run in {spec.origin.cwd}, python is {spec.origin.python}")
    _print_answer(answer, json)


def _print_answer(answer: dict[str, Any], json: bool) -> None:
    from cnnbo.cli.output import print_json, run_again

    if json:
        print_json(answer)
        return
    name = answer["name"]
    print(f"{name}: {answer['outcome']}, {answer['finished']} of {answer['evaluations']} finished")
    if answer.get("retried"):
        print(f"{name}: {run_again(answer['retried'])}")
    print(f"next: cnnbo watch, or cnnbo show {name}")
