"""The trials of a study: those that run, with what they say of themselves, and the table of those that have ended."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from cnnbo.cli.monitor.canvas import RIGHT, Column, Row, Screen, table, wrapped
from cnnbo.cli.monitor.course import Course, Pace
from cnnbo.cli.monitor.figures import duration, figure, initials, minutes, short_value
from cnnbo.cli.monitor.known import Box, Study
from cnnbo.cli.monitor.objects import Attempt, Progress, Trial
from cnnbo.cli.monitor.view import View

QUIET_S = 30.0
"""Running trials report about once a second; after so long without a word their figures are marked as old."""


def device_label(uuid: str | None, box: Box) -> str:
    """What people call a device: its index where it is known."""
    device = box.devices.get(uuid or "")
    return (uuid or "?")[:12] if device is None else device.label


# -- running ones


def running_rows(study: Study, box: Box, screen: Screen, view: View) -> list[Text]:
    """A row for each running trial under titles; nothing where none runs."""
    trials = study.running
    if not trials:
        return []
    spark = 8 if screen.is_narrow else 12
    columns = [
        Column("#", RIGHT, 4),
        Column("dev", RIGHT),
        Column("progress", least=12 if screen.is_narrow else 16),
        Column(_metric_title(study), RIGHT, 7, stays="metric" in study.reported),
        Column("trend", least=spark, rank=2, stays="metric" in study.reported),
        Column("at", least=24, rank=4, stays="at" in study.reported),
        Column("rate", RIGHT, 14, rank=3, stays="rate" in study.reported),
        Column("took", RIGHT, 5),
        Column("left", RIGHT, 5, stays="left" in study.reported),
    ]
    rows = [
        Row(_running_cells(trial, study, box, screen), view.mark is not None and view.mark.trial == trial.id)
        for trial in trials
    ]
    return table(columns, rows, screen)


def _metric_title(study: Study) -> str:
    """The metric's name where the trials report that one, else `metric`."""
    reported = [course.progress.shown_metric(study.summary.metric) for course in study.courses.values()]
    names = {metric[0] for metric in reported if metric is not None}
    title = names.pop() if len(names) == 1 else study.summary.metric if not names else "metric"
    return (title or "metric")[:14]


def _running_cells(trial: Trial, study: Study, box: Box, screen: Screen) -> list[Text]:
    course = study.courses.get(trial.id)
    metric = None if course is None else course.progress.shown_metric(study.summary.metric)
    took_s = None if trial.started is None else max(0.0, screen.now - trial.started)
    return [
        Text(str(trial.id)),
        Text(device_label(trial.device, box)),
        _progress(trial, course, study, box, screen),
        Text("" if metric is None else figure(metric[1])),
        Text("" if course is None else screen.sparkline(course.values, 8 if screen.is_narrow else 12), "cyan"),
        Text("" if course is None else _at(course.progress)),
        Text("" if course is None else _rate(course.pace)),
        Text("" if took_s is None else minutes(took_s)),
        _left(trial, course, screen),
    ]


def _progress(trial: Trial, course: Course | None, study: Study, box: Box, screen: Screen) -> Text:
    """A bar; where the trial doesn't say how far it is, what it is doing."""
    fraction = None if course is None else course.progress.fraction
    if fraction is None:
        device = box.devices.get(trial.device or "")
        is_there = device is not None and (device.study, device.trial) == (study.name, trial.id)
        phase = device.phase if device is not None and is_there else None
        return Text(phase or ("starting" if course is None else "training"))
    text = Text(screen.bar(fraction, 6 if screen.is_narrow else 10), "green")
    return text.append(f" {fraction:4.0%}", "default")


def _at(progress: Progress) -> str:
    words = []
    for word, done, total in (("epoch", progress.epoch, progress.epochs), ("step", progress.step, progress.steps)):
        if done is not None and total != 1:  # the first of one says nothing
            # Padded: nothing moves when the number gets another digit.
            words.append(f"{word} {done}" if total is None else f"{word} {done:>{len(str(total))}}/{total}")
    return " ".join(words)


def _rate(pace: Pace | None) -> str:
    """With three digits, in the unit in which it is neither tiny nor huge.

    >>> _rate(Pace(38.13, "step")), _rate(Pace(0.02, "epoch"))
    ('38.1 steps/s', '1.2 epochs/min')
    """
    if pace is None:
        return ""
    per, unit = (pace.per_second, "s") if pace.per_second >= 1 else (60 * pace.per_second, "min")
    return f"{per:.0f} {pace.unit}s/{unit}" if per >= 99.95 else f"{per:.1f} {pace.unit}s/{unit}"


def _left(trial: Trial, course: Course | None, screen: Screen) -> Text:
    """The time it still needs; for one that has gone quiet since when."""
    if course is None:
        return Text("")
    quiet_s = screen.now - course.progress.told
    if quiet_s > QUIET_S:
        return Text(f"silent {duration(quiet_s)}", "yellow")
    left_s = course.left_s(trial.started, screen.now)
    return Text("" if left_s is None else minutes(left_s))


# -- ended ones


def ended_rows(study: Study, box: Box, screen: Screen, view: View, count: int) -> list[Text]:
    """The newest ended trials and the best one, at most `count`, below titles; down to the mark where it is far."""
    ended = study.ended
    best = study.summary.best.trial if study.summary.best else None
    shown = _window(ended, best, None if view.mark is None else view.mark.trial, count)
    if not shown:
        return []
    names = list(study.summary.space or dict.fromkeys(name for trial in shown for name in trial.configuration))
    values = [[short_value(trial.configuration.get(name)) for name in names] for trial in shown]
    columns = [
        Column("#  ", RIGHT, 6),
        # As wide as the longest that occurred: nothing moves when the mark walks down to it.
        Column("state", least=max(9 if study.summary.at_chance else 8, *map(len, study.summary.failures), 0)),
        Column("value", RIGHT, 6),
        Column("took", RIGHT, 5),
        Column("dev", RIGHT),
        Column("source", rank=1000),
    ]
    whole = [*columns, *_parameters(names)]
    rows = [
        Row(_ended_cells(trial, best, box, value), view.mark is not None and view.mark.trial == trial.id)
        for trial, value in zip(shown, values, strict=True)
    ]
    drawn = table(whole, rows, screen)
    if not names or names[-1] in drawn[0].plain.split():
        return drawn
    return table([*columns, *_parameters(initials(names))], rows, screen)


def _parameters(titles: Sequence[str]) -> list[Column]:
    return [Column(title, RIGHT, rank=rank) for rank, title in enumerate(titles, start=1)]


def _window(ended: Sequence[Trial], best: int | None, marked: int | None, count: int) -> list[Trial]:
    if count <= 0:
        return []
    place = next((k for k, trial in enumerate(ended) if trial.id == marked), 0)
    first = max(0, place - count + 1)
    shown = list(ended[first : first + count])
    if first == 0 and best not in {trial.id for trial in shown} and place < len(shown) - 1:
        shown[-1:] = [trial for trial in ended if trial.id == best] or shown[-1:]
    return shown


def _ended_cells(trial: Trial, best: int | None, box: Box, values: Iterable[str]) -> list[Text]:
    # Yellow comes first: where luck explains the best one, too, it is nothing to be glad of.
    style = "yellow" if trial.at_chance else "red" if trial.state == "failed" else ""
    style = style or ("bold green" if trial.id == best else "")
    cells = (
        f"{trial.id} {'*' if trial.id == best else ' '}",
        trial.outcome.replace("_", " "),
        "-" if trial.value is None else figure(trial.value),
        "-" if trial.duration_s is None else minutes(trial.duration_s),
        device_label(trial.device, box),
        trial.source or "",
    )
    return [Text(cell, style) for cell in (*cells, *values)]


# -- one of them


def trial_details(trial: Trial, study: Study, box: Box, screen: Screen) -> list[Text]:
    """All about one trial: what it came to and why, its configuration, where and when it ran."""
    took = "" if trial.duration_s is None else f"  took {minutes(trial.duration_s)}"
    value = "" if trial.value is None else f"  {study.summary.metric or 'value'} {figure(trial.value)}"
    head = Text.assemble(" TRIAL ", (f"#{trial.id}", "bold"), f"  {trial.outcome.replace('_', ' ')}{value}{took}")
    facts = [
        trial.source and f"source {trial.source}",
        trial.energy_j is not None and f"energy {trial.energy_j / 3600:.3g} Wh",
        trial.cost is not None and f"cost {trial.cost:.2f}",
    ]
    head.append("".join(f"  {fact}" for fact in facts if fact), "dim")
    lines = [head]
    for sentence in (trial.message, trial.note):
        lines += [Text(line.plain, "yellow") for line in wrapped((sentence or "").split(), 3, screen, " ")]
    names = [*(study.summary.space or trial.configuration)]
    words = [f"{name} {short_value(trial.configuration[name])}" for name in names if name in trial.configuration]
    lines += wrapped(words, 3, screen)
    lines += [Text(f"   {_attempt(attempt, box, screen)}") for attempt in trial.attempts]
    return lines


def _attempt(attempt: Attempt, box: Box, screen: Screen) -> str:
    """Where, when and how one attempt ran."""
    begun = "?" if attempt.started is None else screen.clock(attempt.started)
    ended = "now" if attempt.ended is None else screen.clock(attempt.ended)
    outcome = (attempt.outcome or "running").replace("_", " ")
    return f"attempt {attempt.n or '?'}  dev {device_label(attempt.device, box)}  {begun} to {ended}  {outcome}"
