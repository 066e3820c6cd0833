"""The monitor's screen: from `MonitorState` to lines of text, for any width and with or without Unicode.

A screen is a list of lines, none wider than asked for, so that it can be counted, cut and compared in tests. Colour
only repeats what the words say.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Literal

from rich.text import Text

from cnnbo.cli.insight import (
    ASCII_MARKS,
    UNICODE_MARKS,
    Marks,
    believed_best,
    fitting,
    next_gain,
    relevances,
    stop_command,
)
from cnnbo.cli.monitor.figures import duration, figure, initials, minutes, printable, rough, short_value
from cnnbo.cli.monitor.state import (
    Box,
    Device,
    MonitorState,
    Progress,
    Study,
    Trial,
    sorted_devices,
    sorted_studies,
)
from cnnbo.cli.monitor.trace import ASCII_PLOT, UNICODE_PLOT, Outcome, PlotGlyphs, draw_trace

STALE_S = 30.0
"""A device is told of at least every ten seconds; after three times that without news its figures are marked."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What is drawn with.

    Attributes:
        bar: the parts of a bar from empty to full.
        rule, dot, degree, cut: of a line across, between words, of a temperature, where a line was cut.
        marks: for what the surrogate believes.
        plot: for the trace.
    """

    bar: str
    rule: str
    dot: str
    degree: str
    cut: str
    marks: Marks
    plot: PlotGlyphs


UNICODE = Glyphs(" ▏▎▍▌▋▊▉█", "─", "·", "°C", "…", UNICODE_MARKS, UNICODE_PLOT)
ASCII = Glyphs(" #", "-", "-", " C", "~", ASCII_MARKS, ASCII_PLOT)


@dataclass(frozen=True, slots=True)
class Screen:
    """What a screen is made for.

    Attributes:
        width: columns, >= 60.
        height: rows it should fit into; None = as many as it takes.
        now: seconds since the epoch.
        glyphs: `UNICODE` or `ASCII`.
        zone: for times of day; None = the local one.
    """

    width: int
    height: int | None
    now: float
    glyphs: Glyphs = UNICODE
    zone: tzinfo | None = None

    @property
    def is_narrow(self) -> bool:
        """Below 100 columns power and parameters go; rows of devices never do."""
        return self.width < 100

    def bar(self, fraction: float, width: int) -> str:
        """A bar of `width` columns, filled from the left."""
        steps = len(self.glyphs.bar) - 1
        filled = round(min(1.0, max(0.0, fraction)) * width * steps)
        full, rest = divmod(filled, steps)
        return (self.glyphs.bar[-1] * full + (self.glyphs.bar[rest] if rest else "")).ljust(width)

    def rule(self) -> Text:
        """A line across the screen."""
        return Text(self.glyphs.rule * self.width, "dim")

    def clock(self, moment: float) -> str:
        """A time of day."""
        return datetime.fromtimestamp(moment, self.zone).strftime("%H:%M:%S")


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much is shown where rows are scarce: trials in the table, rows of the trace, what the surrogate believes."""

    trials: int
    trace: int
    has_beliefs: bool


_DETAILS = (
    *(_Detail(10, 8, True), _Detail(8, 6, True), _Detail(5, 5, True), _Detail(4, 4, True)),
    *(_Detail(3, 0, True), _Detail(3, 0, False), _Detail(0, 0, False)),
)


def render(state: MonitorState, screen: Screen) -> list[Text]:
    """The whole screen, with as much detail as fits its height; never empty without saying why."""
    details = _DETAILS if screen.height is not None else _DETAILS[1:2]
    for detail in details:
        lines = _lines(state, screen, detail)
        if screen.height is None or len(lines) <= screen.height:
            break
    return [_fitted(line, screen) for line in lines[: screen.height]]


def _fitted(line: Text, screen: Screen) -> Text:
    """Cut to the screen's width, with everything that could steer a terminal made visible instead."""
    line.plain = printable(line.plain)
    line.rstrip()
    if line.cell_len > screen.width:
        line.truncate(screen.width - 1)
        line.append(screen.glyphs.cut)
    line.no_wrap = True
    return line


def _lines(state: MonitorState, screen: Screen, detail: _Detail) -> list[Text]:
    lines = [*_outages(state, screen)]
    for key in sorted(state.boxes):
        box = state.boxes[key]
        lines += [_header(box, state, screen), *_dead(box, state, screen), screen.rule()]
        lines += [*_devices(box, screen), screen.rule()]
        lines += _studies(box, _frozen(box, state, screen), detail)
    if not state.boxes:
        lines += _silence(state)
    return lines


# -- what is missing, and why


def _outages(state: MonitorState, screen: Screen) -> Iterable[Text]:
    for reason in (reason for reason in state.brokers.values() if reason is not None):
        yield Text(f" no connection to {reason}; trying again", "bold red")


def _silence(state: MonitorState) -> list[Text]:
    connected = [broker for broker, reason in state.brokers.items() if reason is None]
    if connected:
        return [
            Text(f" Connected to {', '.join(connected)}, but no box has published there yet. Start one: cnnbo daemon")
        ]
    if not state.brokers:
        return [Text(" Connecting ...")]
    return [Text(" Nothing to show. Is the daemon running? Start it: cnnbo daemon", "bold")]


def _is_live(box: Box, state: MonitorState) -> bool:
    return box.availability == "online" and state.brokers.get(box.broker) is None


def _dead(box: Box, state: MonitorState, screen: Screen) -> Iterable[Text]:
    if _is_live(box, state):
        return
    word = "offline (last will)" if box.availability == "offline" else "has not said whether it is online"
    if state.brokers.get(box.broker) is not None:
        word = "out of reach"
    age = ""
    if box.last_told is not None:
        age = f" Last values below, from {screen.clock(box.last_told)}, {duration(screen.now - box.last_told)} old."
    yield Text(f" {box.node}: {word}.{age}", "bold red")


def _frozen(box: Box, state: MonitorState, screen: Screen) -> Screen:
    """For a box that is not live, the screen of the moment it was last heard of: its trials' clocks stand still."""
    if _is_live(box, state) or box.last_told is None:
        return screen
    return replace(screen, now=box.last_told)


# -- one box


def _header(box: Box, state: MonitorState, screen: Screen) -> Text:
    devices = box.devices.values()
    counts = [(name, sum(d.state == key for d in devices)) for key, name in _DEVICE_STATES.items()]
    words = [f"{count} {name}" for name, count in counts if count and _is_live(box, state)]
    noun = "device" if len(devices) == 1 else "devices"
    counted = f"  {len(devices)} {noun}" + (f": {f' {screen.glyphs.dot} '.join(words)}" if words else "")
    left = Text.assemble(" cnnbo watch   ", (box.node, "bold"), counted)
    return _spread(left, Text("   ".join(_vital_signs(box, state, screen)) + " "), screen)


def _vital_signs(box: Box, state: MonitorState, screen: Screen) -> Iterable[str]:
    if not screen.is_narrow:
        if box.availability == "online" and box.started is not None:
            yield f"daemon up {duration(screen.now - box.started)}"
        yield "mqtt " + ("lost" if state.brokers.get(box.broker) else "ok")
    yield screen.clock(screen.now)


def _spread(left: Text, right: Text, screen: Screen) -> Text:
    """Left and right on one line, the left one cut where they meet."""
    room = screen.width - right.cell_len - 1
    if left.cell_len > room:
        left.truncate(room - 1)
        left.append(screen.glyphs.cut)
    return Text.assemble(left, " " * (screen.width - left.cell_len - right.cell_len), right)


# -- tables


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    align: Literal["left", "right"] = "left"


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[Text]]) -> list[Text]:
    """Columns as wide as their widest cell, two spaces apart; a column in which no row has anything vanishes."""
    kept = [k for k in range(len(columns)) if any(row[k].plain.strip() for row in rows)]
    widths = {k: max(len(columns[k].title), *(row[k].cell_len for row in rows)) for k in kept}

    def line(cells: Sequence[Text], style: str = "") -> Text:
        joined = Text(style=style)
        for k in kept:
            joined.append("  " if joined else " ")
            pad = " " * (widths[k] - cells[k].cell_len)
            joined.append_text(
                Text.assemble(pad, cells[k]) if columns[k].align == "right" else Text.assemble(cells[k], pad)
            )
        return joined

    return [line([Text(c.title) for c in columns], "dim"), *(line(row) for row in rows)]


# -- devices

_DEVICE_STATES = {
    "busy": "training",
    "idle": "idle",
    "foreign": "held",
    "drained": "drained",
    "quarantined": "quarantined",
}
_DEVICE_STYLES = {"busy": "green", "foreign": "yellow", "drained": "yellow", "quarantined": "bold red"}


def _devices(box: Box, screen: Screen) -> list[Text]:
    devices = sorted_devices(box)
    if not devices:
        return [Text(f" No device known on {box.node}.", "yellow")]
    bar = 5 if screen.is_narrow else 10
    right: Literal["right"] = "right"
    columns = [
        *(_Column("dev", right), _Column("name"), _Column("util"), _Column("memory", right), _Column("temp", right)),
        *(_Column("power", right), _Column("age", right), _Column("doing")),
    ]
    return _table(columns, [_device_cells(device, box, screen, bar) for device in devices])


def _device_cells(device: Device, box: Box, screen: Screen, bar: int) -> list[Text]:
    util, degree = device.utilisation_percent, screen.glyphs.degree
    age = screen.now - device.told
    style = "dim" if age > STALE_S else ""
    cells = [
        device.label,
        _short_name(device.name, screen),
        "" if util is None else f"{screen.bar(util / 100, bar)} {util:3.0f}%",
        _memory(device),
        "" if device.temperature_c is None else f"{device.temperature_c:.0f}{degree}",
        "" if device.power_w is None or screen.is_narrow else f"{device.power_w:.0f} W",
    ]
    told = Text(duration(age) if age > STALE_S else "", "yellow")
    return [*(Text(cell, style) for cell in cells), told, _doing(device, box)]


def _short_name(name: str, screen: Screen) -> str:
    for maker in ("NVIDIA ", "GeForce "):
        name = name.replace(maker, "")
    longest = 12 if screen.is_narrow else 24
    return name if len(name) <= longest else name[: longest - 1] + screen.glyphs.cut


def _memory(device: Device) -> str:
    used, total = device.memory_used_mib, device.memory_total_mib
    if used is None:
        return ""
    return f"{used / 1024:.1f}" + (f"/{total / 1024:.3g}" if total is not None else "") + " GB"


def _doing(device: Device, box: Box) -> Text:
    text = Text(device.state, _DEVICE_STYLES.get(device.state, ""))
    if device.study is not None and device.trial is not None:
        text = Text(f"{device.study} #{device.trial}", "green")
        study = box.studies.get(device.study)
        progress = study.progress.get(device.trial) if study else None
        if progress is not None and progress.fraction is not None:
            text.append(f"  {progress.fraction:4.0%}")
        if device.phase not in (None, "training"):
            text.append(f"  {device.phase}")
        if device.reason:  # who is there too, or that it is the last trial there
            text.append(f", beside {device.reason}" if device.state == "busy" else f", {device.state}", "yellow")
    elif device.reason:  # who holds it, or has drained it, is said by the reason alone
        is_said = device.state == "foreign" or device.reason.startswith(device.state)
        text = Text(device.reason if is_said else f"{device.state}: {device.reason}", text.style)
    return text


# -- studies


def _studies(box: Box, screen: Screen, detail: _Detail) -> list[Text]:
    studies = [study for study in sorted_studies(box) if study.is_told]
    if not studies:
        return [Text(f" No study on {box.node}. Start one: cnnbo run study.toml", "bold")]
    lines: list[Text] = []
    unfolded = 0
    for study in studies:
        # What has ended takes one line as long as something else is going on.
        if unfolded and study.summary.state not in ("running", "paused"):
            lines.append(_study_header(study, screen))
            continue
        unfolded += 1
        lines += [*_study(study, box, screen, detail), screen.rule()]
    return lines


def _study(study: Study, box: Box, screen: Screen, detail: _Detail) -> list[Text]:
    lines = [_study_header(study, screen), *_best(study, screen)]
    if detail.trace:
        lines += _trace(study, screen, detail.trace)
    lines += _running(study, box, screen)
    if detail.trials:
        lines += _recent(study, box, screen, detail.trials)
    if detail.has_beliefs:
        lines += _beliefs(study, screen)
    return lines


_STUDY_STYLES = {"running": "green", "paused": "yellow", "failed": "bold red", "finished": "bold"}


def _study_header(study: Study, screen: Screen) -> Text:
    summary = study.summary
    state = summary.state + (f" ({summary.reason.replace('_', ' ')})" if summary.reason else "")
    done = f"{summary.finished}/{summary.evaluations}" if summary.evaluations else f"{summary.finished}"
    left = Text.assemble(
        *(" STUDY ", (study.name, "bold"), (f" of {summary.owner}" if summary.owner else "", "dim"), "  "),
        *((state, _STUDY_STYLES.get(summary.state, "")), f"  {done} done"),
        f"  {summary.running} running" * bool(summary.running),
        (f"  {summary.failed} failed" * bool(summary.failed), "red"),
    )
    return _spread(left, Text(", ".join(_study_times(study, screen)) + " "), screen)


def _study_times(study: Study, screen: Screen) -> Iterable[str]:
    summary = study.summary
    is_over = summary.state not in ("running", "paused")
    if summary.spent_s is not None and (is_over or not screen.is_narrow):
        yield f"took {rough(summary.spent_s)}" if is_over else f"{rough(summary.spent_s)} so far"
    if summary.eta_s is not None and summary.state == "running":
        yield f"about {rough(summary.eta_s)} left"


def _best(study: Study, screen: Screen) -> Iterable[Text]:
    summary, best = study.summary, study.summary.best
    if best is None:
        why = "no trial has finished yet" if not summary.finished else "every trial so far has failed"
        yield Text(f" best    none: {why}")
        return
    trial = "" if best.trial is None else f" (#{best.trial})"
    name = f" {summary.metric}" if summary.metric else ""
    yield Text.assemble(" best   ", (f" {best.value:.6g}{trial}", "bold green"), name, *_spent(study))
    names = summary.space or tuple(best.configuration)
    words = [f"{key} {short_value(best.configuration[key])}" for key in names if key in best.configuration]
    yield from _wrapped(words, indent=9, screen=screen)


def _spent(study: Study) -> Iterable[str]:
    if study.summary.energy_kwh is not None:
        yield f"   spent {study.summary.energy_kwh:.2f} kWh"
    if study.summary.cost:
        yield f"   cost {study.summary.cost:.2f}"


def _wrapped(words: Iterable[str], indent: int, screen: Screen, separator: str = "  ") -> Iterable[Text]:
    line = ""
    for word in words:
        if line and indent + len(line) + len(separator) + len(word) > screen.width:
            yield Text(" " * indent + line)
            line = ""
        line += (separator if line else "") + word
    if line:
        yield Text(" " * indent + line)


def _trace(study: Study, screen: Screen, height: int) -> Iterable[Text]:
    outcomes = [
        Outcome(trial.id, trial.value)
        for trial in sorted(study.trials.values(), key=lambda t: t.id)
        if trial.state in ("complete", "failed")
    ]
    if len(outcomes) < 2:
        return  # one point is no course
    maximize = study.summary.direction == "maximize"
    evaluations = study.summary.evaluations or outcomes[-1].trial
    width = min(screen.width - 1, 120)
    plot = draw_trace(
        outcomes,
        evaluations=evaluations,
        maximize=maximize,
        width=width,
        height=height,
        glyphs=screen.glyphs.plot,
    )
    for row in plot:
        yield Text(row, "cyan")


def _running(study: Study, box: Box, screen: Screen) -> list[Text]:
    trials = sorted((t for t in study.trials.values() if t.state == "running"), key=lambda t: t.id)
    return [_running_line(trial, study, box, screen) for trial in trials]


def _running_line(trial: Trial, study: Study, box: Box, screen: Screen) -> Text:
    progress = study.progress.get(trial.id)
    device = f"dev {_device_label(trial.device, box)}"
    head = f" #{trial.id:<4d} {device:<6}  "
    bar = screen.bar((progress.fraction if progress else None) or 0.0, 6 if screen.is_narrow else 10)
    words = _progress_words(progress, study) if progress else ["  starting"]
    text = Text.assemble(head, (bar, "green"), *words)
    times = "  ".join(_running_times(trial, progress, screen))
    return _spread(text, Text(times + " "), screen)


def _progress_words(progress: Progress, study: Study) -> Iterable[str]:
    if progress.fraction is not None:
        yield f" {progress.fraction:4.0%}"
    metric = study.summary.metric
    name = metric if metric in progress.metrics else next(iter(progress.metrics), None)
    if name is not None:
        yield f"  {name} {progress.metrics[name]:.4g}"
    for word, done, total in (("epoch", progress.epoch, progress.epochs), ("step", progress.step, progress.steps)):
        if done is not None and total != 1:  # the first of one says nothing
            yield f"  {word} {done}" + (f"/{total}" if total is not None else "")


def _running_times(trial: Trial, progress: Progress | None, screen: Screen) -> Iterable[str]:
    if progress is not None and screen.now - progress.told > STALE_S:
        yield f"({duration(screen.now - progress.told)} old)"
        progress = None  # no word on when it ends
    if trial.started is None:
        return
    elapsed_s = max(0.0, screen.now - trial.started)
    yield minutes(elapsed_s)
    fraction = progress.fraction if progress is not None else None
    if progress is not None and fraction:
        yield f"eta {minutes(max(0.0, (progress.told - trial.started) / fraction - elapsed_s))}"


def _device_label(uuid: str | None, box: Box) -> str:
    device = box.devices.get(uuid or "")
    if device is not None:
        return device.label
    return (uuid or "?")[:12]


# -- the table of trials


def _recent(study: Study, box: Box, screen: Screen, count: int) -> list[Text]:
    """The newest ended trials, and the best one in any case."""
    ended = sorted((t for t in study.trials.values() if t.state not in ("running", "pending")), key=lambda t: -t.id)
    best = study.summary.best.trial if study.summary.best else None
    shown = ended[:count]
    if best in study.trials and best not in {trial.id for trial in shown}:
        shown = [*shown[: count - 1], study.trials[best]]
    if not shown:
        return []
    columns = [_Column(title, "left" if title in ("state", "source") else "right") for title in _TRIAL_COLUMNS]
    rows = [_trial_cells(trial, best, box) for trial in shown]
    if screen.is_narrow:
        return _table(columns, rows)
    if _parameters_room(columns, rows, screen) < _columns_width(*_parameter_columns(study, shown, None)):
        columns, rows = columns[:-1], [row[:-1] for row in rows]  # where a trial came from matters less than what it is
    titles, values = _parameter_columns(study, shown, _parameters_room(columns, rows, screen))
    columns += [_Column(title, "right") for title in titles]
    cells = ([Text(column[k]) for column in values] for k in range(len(shown)))
    return _table(columns, [row + more for row, more in zip(rows, cells, strict=True)])


_TRIAL_COLUMNS = ("#", "state", "value", "took", "dev", "source")


def _parameters_room(columns: Sequence[_Column], rows: Sequence[Sequence[Text]], screen: Screen) -> int:
    return screen.width - _table(columns, rows)[0].cell_len


def _trial_cells(trial: Trial, best: int | None, box: Box) -> list[Text]:
    style = "red" if trial.state == "failed" else "bold green" if trial.id == best else ""
    cells = (
        f"{trial.id} {'*' if trial.id == best else ' '}",
        trial.outcome.replace("_", " "),
        "-" if trial.value is None else figure(trial.value),
        "-" if trial.duration_s is None else minutes(trial.duration_s),
        _device_label(trial.device, box),
        trial.source or "",
    )
    return [Text(cell, style) for cell in cells]


def _parameter_columns(study: Study, trials: Sequence[Trial], room: int | None) -> tuple[list[str], list[list[str]]]:
    """Titles and values of the parameters: whole names, or else initials; as many as fit into `room` columns."""
    names = list(study.summary.space or dict.fromkeys(name for trial in trials for name in trial.configuration))
    values = [[short_value(trial.configuration.get(name)) for trial in trials] for name in names]
    if room is not None and _columns_width(names, values) <= room:
        return names, values
    titles = initials(names)
    while room is not None and titles and _columns_width(titles, values) > room:
        titles, values = titles[:-1], values[:-1]
    return titles, values


def _columns_width(titles: Sequence[str], values: Sequence[Sequence[str]]) -> int:
    return sum(2 + max(len(title), *map(len, column)) for title, column in zip(titles, values, strict=True))


# -- what the surrogate believes


def _beliefs(study: Study, screen: Screen) -> Iterable[Text]:
    """What matters, what the next trial promises and what the best is believed to be; the hint below."""
    insight = study.summary.insight
    if insight is None:
        return
    matters = fitting(relevances(insight, screen.glyphs.marks), screen.width - len(" matters: "))
    gain, best = next_gain(insight), believed_best(insight, screen.glyphs.marks)
    is_over = study.summary.state not in ("running", "paused")
    phrases = (
        matters and f"matters: {matters}",
        gain and f"{'last proposal' if is_over else 'next trial'}: {gain}",
        best and f"best believed: {best}",
    )
    yield from _wrapped([phrase for phrase in phrases if phrase], indent=1, screen=screen, separator="   ")
    if study.summary.is_stop_advised:
        clauses = ("hint: gains stay below the noise", f"stopping is reasonable: {stop_command(study.name)}")
        for line in _wrapped(clauses, indent=1, screen=screen, separator="; "):
            line.stylize("dim")
            yield line
