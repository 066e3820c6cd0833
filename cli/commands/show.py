"""`cnnbo show`: one study, or one trial of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbo.cli import completion, options

if TYPE_CHECKING:
    from cnnbo.cli.insight import Marks
    from cnnbo.scheduler.insight import StudyInsight

TOP = 5
LOG_LINES = 20


def show(
    name: options.StudyName,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", help="Number of a trial.", autocompletion=completion.trials)
    ] = None,
    state: options.State = None,
    broker: options.Broker = None,
    node: options.Box = None,
    json: options.Json = False,
) -> None:
    """What a study or a comparison has found, or one trial."""
    from cnnbo.cli.output import print_json
    from cnnbo.daemon.client import LocalDaemon

    daemon = options.daemon_of(state, broker, node)
    shown = daemon.show(name)
    if "studies" in shown:
        _show_comparison(shown, trial, json)
        return
    if trial is None:
        print_json(shown) if json else _print_study(shown)
        return
    one = find_trial(shown, trial)
    if json:
        print_json(one)
        return
    _print_trial(shown, one)
    if isinstance(daemon, LocalDaemon):
        _print_log(daemon.state, name, one)
    else:
        print(f"  what it printed is on the box: cnnbo logs {name} {trial}")


def _show_comparison(shown: dict[str, Any], trial: int | None, json: bool) -> None:
    from cnnbo.cli.comparing import show_lines
    from cnnbo.cli.output import print_json
    from cnnbo.scheduler.errors import RequestError

    if trial is not None:
        name = shown["studies"][0]["name"]
        raise RequestError(f"{shown['comparison']} is a comparison; name one of its studies, like {name} {trial}.")
    if json:
        print_json(shown)
        return
    for line in show_lines(shown):
        print(line)


def find_trial(shown: dict[str, Any], trial: int) -> dict[str, Any]:
    """The trial of that number.

    Raises:
        RequestError: there is none.
    """
    from cnnbo.scheduler.errors import RequestError

    for one in shown["trials"]:
        if one["id"] == trial:
            return dict(one)
    raise RequestError(f"study {shown['name']} has no trial {trial}; it has {len(shown['trials'])}.")


def _print_study(shown: dict[str, Any]) -> None:
    from cnnbo.cli import output

    why = f" ({shown['reason']})" if shown["reason"] else ""
    print(
        f"{shown['name']}   {shown['state']}{why}   {shown['finished']} of {shown['evaluations']} finished, "
        f"{shown['running']} running{output.without_value(shown, output.failure_classes(shown))}   "
        f"owner: {shown['owner']}"
    )
    if shown.get("undecided"):
        which = output.trials_named(shown["undecided"])
        print(f"held   {which}: equal crashes, which are held against no configuration. Mend the cause, then give")
        without = f"; without them: cnnbo resume {shown['name']}" if shown["state"] == "paused" else ""
        print(f"       the same cnnbo run or submit, and they run again{without}")
    if shown["best"] is not None:
        how = "no better than chance" if output.is_only_chance(shown) else "once measured"
        print(f"best   {output.value(shown['best_value'])}  trial {shown['best_trial']}  ({how})")
        print(f"       {output.configuration(shown['best']['configuration'])}")
    if shown.get("advice"):
        print(f"advice {shown['advice']}")
    _print_start(shown)
    left = "" if not shown["eta_s"] else f", about {output.duration(shown['eta_s'])} left"
    print(f"spent  {output.spent(shown)}{left}")
    _print_model(shown)
    complete = [t for t in shown["trials"] if t["value"] is not None]
    # What luck put there has no place among the best, unless there is nothing else.
    complete = sorted([t for t in complete if not t.get("at_chance")] or complete, key=_rank(shown))
    if complete:
        best_few = [f"{trial['id']} {output.value(trial['value'])}" for trial in complete[:TOP]]
        print(f"top    {f' {_marks().dot} '.join(best_few)}")


def _marks() -> "Marks":
    import sys

    from cnnbo.cli.insight import marks_for

    return marks_for(sys.stdout.encoding)


def _rank(shown: dict[str, Any]) -> Any:
    sign = -1 if shown["direction"] == "maximize" else 1
    return lambda trial: sign * trial["value"]


def _print_start(shown: dict[str, Any]) -> None:
    from cnnbo.cli import output

    first = next((t for t in shown["trials"] if t["source"] == "start" and t["value"] is not None), None)
    if first is not None and shown["best_value"] is not None:
        gain = shown["best_value"] - first["value"]
        print(f"start  {output.value(first['value'])}  trial {first['id']}, your defaults: {gain:+.4g} since")


def _print_model(shown: dict[str, Any]) -> None:
    """Where the points come from, and what the surrogate believes."""
    from cnnbo.cli import insight as words
    from cnnbo.scheduler.insight import StudyInsight

    sources: dict[str, int] = {}
    for trial in shown["trials"]:
        sources[trial["source"]] = sources.get(trial["source"], 0) + 1
    came = ", ".join(f"{count} {source}" for source, count in sources.items())
    insight = StudyInsight.read(shown.get("insight") or {})
    fitted = words.fitted_to(insight) if insight else _no_surrogate(shown)
    notes = "".join(f"; {note}" for note in (fitted, _test_set(shown)) if note)
    print(f"model  {shown['optimizer']}, trials from {came or 'nothing yet'}{notes}")
    if insight is not None:
        _print_beliefs(shown, insight)


def _test_set(shown: dict[str, Any]) -> str:
    """How often the test set was opened; of a script nothing is said unless it says something itself."""
    from cnnbo.cli import output

    openings = shown.get("test_set_openings")
    if openings is None or (shown["model"] is None and openings == 0):
        return ""
    return f"test set opened {output.times(openings)}"


def _no_surrogate(shown: dict[str, Any]) -> str:
    if shown["optimizer"] not in ("trieste", "bo"):
        return ""
    return "no surrogate yet" if shown["state"] in ("running", "paused") else "no surrogate was fitted"


def _print_beliefs(shown: dict[str, Any], insight: "StudyInsight") -> None:
    from cnnbo.cli import insight as words

    marks = _marks()
    if matters := words.relevances(insight, marks):
        print(f"       matters: {'  '.join(matters)}")
    if best := words.believed_best(insight, marks):
        print(f"       believes: {best} for the best configuration")
    if gain := words.next_gain(insight):
        is_open = shown["state"] in ("running", "paused")
        print(f"       {'next trial' if is_open else 'at the last proposal'}: {gain}")
    if (shown["insight"] or {}).get("stop_advised"):
        print(f"hint   {words.stop_hint(insight, shown['name'])}")


def _print_trial(shown: dict[str, Any], trial: dict[str, Any]) -> None:
    from cnnbo.cli import output

    end = trial["failure"] or (
        f"{shown['metric']} {output.value(trial['value'])}" if trial["value"] is not None else ""
    )
    if trial.get("at_chance"):
        end += f", no better than chance ({output.value(trial['chance'])})"
    print(f"{shown['name']} #{trial['id']}   {trial['state']}   {end}   from: {trial['source']}")
    braked = "it crashed like those that paused the study: held against the script, not against its configuration"
    for text in (trial["message"], trial["note"], braked if trial.get("braked") else None):
        if text:
            print(f"       {text}")
    for name, item in trial["configuration"].items():
        print(f"  {name} = {item}")
    for name, item in trial["metrics"].items():
        print(f"  {name}: {output.value(item)}")
    for attempt in trial["attempts"]:
        span = f"{output.local_time(attempt['started'])} to {output.local_time(attempt['ended'])}"
        origin = ", resumed from a checkpoint" if attempt.get("resumed") else ""
        print(f"attempt {attempt['n']}  {attempt['device']}  {span}  {attempt['outcome'] or 'running'}{origin}")


def _print_log(state: Path, study: str, trial: dict[str, Any]) -> None:
    from cnnbo.daemon.client import read_log

    if not trial["attempts"]:
        return
    for line in read_log(state, study, trial["id"], len(trial["attempts"]), LOG_LINES).part.lines:
        print(f"  | {line}")
