"""One study: how it stands, what it has used and when it ends, its best-seen trace, what the surrogate believes."""

from collections.abc import Callable, Iterable, Iterator

from rich.text import Text

from cnnbo.cli.insight import believed_best, fitting, next_gain, relevances, stop_command
from cnnbo.cli.monitor.canvas import Screen, spread, wrapped
from cnnbo.cli.monitor.devices import missing_device
from cnnbo.cli.monitor.figures import rough, short_value
from cnnbo.cli.monitor.known import Box, Study
from cnnbo.cli.monitor.summary import Usage
from cnnbo.cli.monitor.trace import Outcome, draw_trace

_STYLES = {"running": "green", "paused": "yellow", "failed": "bold red", "finished": "bold"}


def study_header(study: Study, screen: Screen) -> Text:
    """Name, state and counts, and when it will be over."""
    summary = study.summary
    state = summary.state + (f" ({summary.reason.replace('_', ' ')})" if summary.reason else "")
    left = Text.assemble(
        *(" STUDY ", (study.name, "bold"), (f" of {summary.owner}" if summary.owner else "", "dim"), "  "),
        *((state, _STYLES.get(summary.state, "")), f"  {done(study)}" + " done" * (not screen.is_narrow)),
        f"  {summary.running} running" * bool(summary.running),
        (f"  {summary.at_chance} at chance" * bool(summary.at_chance and not screen.is_narrow), "yellow"),
        (f"  {summary.failed} failed" * bool(summary.failed), "red"),
        (f"  {len(summary.undecided)} undecided" * bool(summary.undecided), "red"),
    )
    return spread(left, Text(forecast(study, screen) + " "), screen)


def done(study: Study) -> str:
    """Finished trials of those in the budget."""
    summary = study.summary
    return f"{summary.finished}/{summary.evaluations}" if summary.evaluations else f"{summary.finished}"


def forecast(study: Study, screen: Screen) -> str:
    """How long a study still takes, and until when; of an ended one how long it took."""
    summary = study.summary
    if summary.is_over:
        return "" if summary.spent_s is None else f"took {rough(summary.spent_s)}"
    end = _end(study)
    if end is None or summary.state != "running":
        return ""
    left = rough(max(0.0, end[0] - screen.now))
    if screen.is_narrow:
        return f"{left} left, {screen.hour(end[0])}"
    if end[1]:
        return f"{left} left, {screen.hour(end[0])} ({end[1]} used up)"
    return f"about {left} left, {screen.hour(end[0])}"


def _end(study: Study) -> tuple[float, str] | None:
    """When a study will end if it goes on like this, and which part of its budget ends it, if not the trials."""
    summary = study.summary
    if summary.eta_s is None:
        return None  # before the first trial has finished, a budget is no more than an upper limit
    ends = [(summary.told + summary.eta_s, "")]
    for name, usage, spent_s in (
        ("time", summary.time_s, summary.time_s.spent if summary.time_s else None),
        ("cost", summary.cost, summary.spent_s),
        ("energy", summary.energy_kwh, summary.spent_s),
    ):
        if usage is not None and usage.limit is not None and usage.spent > 0 and spent_s:
            ends.append((summary.told + max(0.0, usage.limit / usage.spent - 1) * spent_s, name))
    return min(ends)


def best_line(study: Study, box: Box) -> Text:
    """The best value so far, or why there is none."""
    summary, best = study.summary, study.summary.best
    if best is None:
        said = "no trial has given a value yet" if summary.undecided else "every trial so far has failed"
        why = said if summary.finished else "no trial has finished yet"
        if summary.state == "running" and not summary.finished and not summary.running:
            why = missing_device(box) or why
        return Text(f" best    none: {why}")
    trial = "" if best.trial is None else f" (#{best.trial})"
    name = f" {summary.metric}" if summary.metric else ""
    name += " (lower is better)" if summary.direction == "minimize" else ""
    style = "yellow" if summary.is_only_chance else "bold green"
    line = Text.assemble(" best   ", (f" {best.value:.6g}{trial}", style), name)
    if summary.is_only_chance:
        return line.append(", no better than chance")
    first = study.trials.get(1)
    if first is not None and first.source == "start" and first.value is not None and best.trial != 1:
        line.append(f"   start {first.value:.6g} (#1), {best.value - first.value:+.3g} since")
    return line


def best_configuration(study: Study, screen: Screen) -> list[Text]:
    """The configuration of the best trial."""
    best = study.summary.best
    if best is None:
        return []
    names = study.summary.space or tuple(best.configuration)
    words = [f"{key} {short_value(best.configuration[key])}" for key in names if key in best.configuration]
    return list(wrapped(words, 9, screen))


def usage_lines(study: Study, screen: Screen) -> list[Text]:
    """What was used of trials, time, energy and money, each with its limit where there is one."""
    summary = study.summary
    words = []
    if summary.evaluations:
        words.append(f"trials {_share(summary.finished / summary.evaluations, screen)}")
    if summary.time_s is not None:
        words.append(f"time {_used(summary.time_s, rough, '', screen)}")
    elif summary.spent_s is not None:
        words.append(f"time {rough(summary.spent_s)}")
    if summary.energy_kwh is not None:
        words.append(f"energy {_used(summary.energy_kwh, lambda kwh: f'{kwh:.3g}', ' kWh', screen)}")
    if summary.cost is not None:
        words.append(f"cost {_used(summary.cost, lambda cost: f'{cost:.2f}', '', screen)}")
    if (busy := _busy_share(study)) is not None:
        words.append(f"devices busy {busy:.0%}")
    lines = list(wrapped(words, 9, screen, "   "))
    if lines:
        lines[0].plain = " used    " + lines[0].plain[9:]
    return lines


def _share(fraction: float, screen: Screen) -> str:
    return f"{screen.bar(fraction, 5)} {fraction:.0%}"


def _used(usage: Usage, write: Callable[[float], str], unit: str, screen: Screen) -> str:
    if usage.limit is None:
        return write(usage.spent) + unit
    share = usage.spent / usage.limit if usage.limit > 0 else 1.0
    return f"{write(usage.spent)} of {write(usage.limit)}{unit} {screen.bar(share, 5).rstrip()}".rstrip()


def _busy_share(study: Study) -> float | None:
    """Share of the study's time in which the devices it has used had a trial of it; None where it can't be told."""
    usage, now = study.summary.time_s, study.summary.told
    attempts = [attempt for trial in study.trials.values() for attempt in trial.attempts if attempt.started is not None]
    devices = {attempt.device for attempt in attempts}
    if usage is None or usage.spent <= 0 or not devices:
        return None
    busy_s = sum(max(0.0, (attempt.ended or now) - (attempt.started or now)) for attempt in attempts)
    return min(1.0, busy_s / (usage.spent * len(devices)))


def failure_lines(study: Study, screen: Screen) -> list[Text]:
    """How many trials failed, by class; of a study that crashes stopped also why, and what to do."""
    summary = study.summary
    counts = {name: count - len(summary.undecided) * (name == "crashed") for name, count in summary.failures.items()}
    words = [f"{count:.0f} {name.replace('_', ' ')}" for name, count in counts.items() if count > 0]
    lines = list(wrapped(words, 9, screen, "   "))
    if lines:
        lines[0].plain = " failed  " + lines[0].plain[9:]
    if summary.is_stopped_by_crashes or summary.undecided:
        lines += _crash_lines(study, screen)
    for line in lines:
        line.stylize("red")
    return lines


def _crash_lines(study: Study, screen: Screen) -> Iterator[Text]:
    """What the newest of equal crashes said, and what to do."""
    # A daemon of an earlier version doesn't tell which they are.
    undecided = study.summary.undecided
    crashes = (trial for trial in study.ended if trial.failure == "crashed")
    newest = next((trial for trial in crashes if not undecided or trial.id in undecided), None)
    why = "" if newest is None or newest.message is None else f"#{newest.id}: {newest.message}"
    yield from wrapped(why.split(), 9, screen, " ")
    mended = (
        "held against no configuration; once that is mended, give the same cnnbo run or submit again, or: "
        f"cnnbo retry {study.name} --crashed"
    )
    yield from wrapped(mended.split(), 9, screen, " ")


def luck_lines(study: Study, screen: Screen) -> list[Text]:
    """How many trials are at chance; of a study that ended so, what the daemon advises to look at."""
    summary = study.summary
    title, words = "chance", f"{summary.at_chance} of {summary.finished} no better" if summary.at_chance else ""
    if summary.advice:
        title, words = "advice", summary.advice
    lines = list(wrapped(words.split(), 9, screen, " "))
    if lines:
        lines[0].plain = f" {title}  {lines[0].plain[9:]}"
    for line in lines:
        line.stylize("yellow")
    return lines


def has_course(study: Study) -> bool:
    """Whether there is a trace to draw: one point is no course, and failures alone have none."""
    outcomes = [trial for trial in study.trials.values() if trial.state in ("complete", "failed")]
    return len(outcomes) > 1 and any(trial.value is not None for trial in outcomes)


def trace_lines(study: Study, screen: Screen, height: int) -> list[Text]:
    """The best value seen over the trials, of a study that `has_course`: `height` rows, and two for the axis."""
    outcomes = [
        Outcome(trial.id, trial.value, trial.at_chance)
        for trial in sorted(study.trials.values(), key=lambda t: t.id)
        if trial.state in ("complete", "failed")
    ]
    plot = draw_trace(
        outcomes,
        evaluations=study.summary.evaluations or outcomes[-1].trial,
        maximize=study.summary.direction == "maximize",
        width=min(screen.width - 1, 120),
        height=height,
        glyphs=screen.glyphs.plot,
    )
    return [Text(row, "cyan") for row in plot]


def belief_lines(study: Study, screen: Screen) -> list[Text]:
    """What matters, what the next trial promises and what the best is believed to be; the hint below."""
    insight = study.summary.insight
    if insight is None:
        return []
    matters = fitting(relevances(insight, screen.glyphs.marks), screen.width - len(" matters: "))
    gain, best = next_gain(insight), believed_best(insight, screen.glyphs.marks)
    phrases = (
        matters and f"matters: {matters}",
        gain and f"{'last proposal' if study.summary.is_over else 'next trial'}: {gain}",
        best and f"best believed: {best}",
    )
    lines = list(wrapped([phrase for phrase in phrases if phrase], 1, screen, "   "))
    if study.summary.is_stop_advised:
        clauses = ("hint: gains stay below the noise", f"stopping is reasonable: {stop_command(study.name)}")
        hint: Iterable[Text] = wrapped(clauses, 1, screen, "; ")
        for line in hint:
            line.stylize("dim")
            lines.append(line)
    return lines
