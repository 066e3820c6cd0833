"""`pause`, `resume`, `cancel`, `archive`, `delete`: five orders about one study, alike but for their verb."""

from typing import Annotated, Any

import typer

from cnnbo.cli import options


def pause(
    name: options.StudyName,
    now: Annotated[bool, typer.Option("--now", help="Stop running trials too; they run again after `resume`.")] = False,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Start nothing new; running trials go on to their end."""
    _order(options.daemon_of(state, broker, node), "pause", name, json, "paused", now=now)


def resume(
    name: options.StudyName,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Go on with a paused study."""
    _order(options.daemon_of(state, broker, node), "resume", name, json, "goes on")


def cancel(
    name: options.StudyName,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """End a study for good. Running trials are stopped, results are kept."""
    _order(options.daemon_of(state, broker, node), "cancel", name, json, "cancelled")


def archive(
    name: options.StudyName,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """Hide an ended study from lists and topics; results are kept."""
    _order(options.daemon_of(state, broker, node), "archive", name, json, "archived")


def delete(
    name: options.StudyName,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Free an ended study's name, and remove its trials' files."""
    if not yes:
        typer.confirm(f"Remove the logs and results of all trials of {name}?", abort=True)
    _order(options.daemon_of(state, None, None), "delete", name, json, "deleted")


def _order(daemon: "options.Daemon", verb: str, name: str, json: bool, done: str, **args: Any) -> None:
    from cnnbo.cli.output import print_json
    from cnnbo.daemon.client import LocalDaemon

    hint = ""
    if isinstance(daemon, LocalDaemon):
        from cnnbo.daemon.offline import order

        answer, has_daemon = order(daemon.state, verb, study=name, **args)
        hint = options.start_hint(daemon.state) if verb == "resume" and not has_daemon else ""
    else:
        answer = daemon.ask(verb, study=name, **args)
    if json:
        print_json(answer)
        return
    running = answer.get("running", 0) if verb in ("pause", "cancel") else 0
    trials = "1 trial" if running == 1 else f"{running} trials"
    print(f"{name}: {done}{f', {trials} still running' if running else ''}{hint}")
    if verb == "resume":
        _print_braked(name, answer)


def _print_braked(name: str, answer: dict[str, Any]) -> None:
    """Say of a study that goes on what it goes on without."""
    from cnnbo.cli.output import trials_named

    # The answer of an older daemon, or of a comparison, names none.
    if braked := [trial["id"] for trial in answer.get("trials", []) if trial.get("braked")]:
        print(f"it goes on without {trials_named(braked)}; to run what crashed again: cnnbo retry {name} --crashed")
