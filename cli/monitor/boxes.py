"""Boxes: the head of each, what is missing and why, and all of them as one line each."""

from collections.abc import Iterable
from dataclasses import replace

from rich.text import Text

from cnnbo.cli.monitor.canvas import LEAST_WIDTH, RIGHT, Column, Row, Screen, counted, spread, table, wrapped
from cnnbo.cli.monitor.devices import STATES, device_states
from cnnbo.cli.monitor.figures import duration, figure
from cnnbo.cli.monitor.known import Box, Study
from cnnbo.cli.monitor.state import MonitorState
from cnnbo.cli.monitor.studies import done, forecast
from cnnbo.cli.monitor.view import told_studies


def outages(state: MonitorState) -> list[Text]:
    """A line for each broker that can't be reached."""
    reasons = [reason for reason in state.brokers.values() if reason is not None]
    return [Text(f" {reason} (trying again)", "bold red") for reason in reasons]


def absence(state: MonitorState) -> str:
    """Why there is no box, though there is a connection."""
    if state.others:
        return f"There is no box '{state.node}'; the boxes are: {', '.join(sorted(state.others))}."
    connected = [broker for broker, reason in state.brokers.items() if reason is None]
    base = "" if state.base == "cnnbo" else f" below {state.base}"
    return f"Connected to {', '.join(connected)}, but no box has published there yet{base}. Start one: cnnbo daemon"


def silence(state: MonitorState, screen: Screen) -> list[Text]:
    """Why no box is to be seen."""
    if None in state.brokers.values():
        return list(wrapped(absence(state).split(), 1, screen, " "))
    if not state.brokers:
        return [Text(" Connecting ...")]
    return [Text(" Nothing to show. Is the daemon running? Start it: cnnbo daemon", "bold")]


def box_name(box: Box, state: MonitorState) -> str:
    """Its node, and where that publishes if another box has the same one."""
    if sum(other.node == box.node for other in state.boxes.values()) == 1:
        return box.node
    return f"{box.node} at {box.broker.rpartition('://')[2]}"


def by_its_clock(box: Box, screen: Screen) -> Screen:
    """The screen as of now by the clock of a box, which may be wrong, but is the one that all its times are of."""
    return replace(screen, now=screen.now - box.behind_s) if box.behind_s else screen


def frozen(box: Box, state: MonitorState, screen: Screen) -> Screen:
    """For a box that is not live, the screen of the moment it was last heard of: its trials' clocks stand still."""
    if state.is_live(box) or box.last_told is None:
        return by_its_clock(box, screen)
    return replace(screen, now=box.last_told)


def box_header(box: Box, state: MonitorState, screen: Screen, title: str = "", is_marked: bool = False) -> Text:
    """A box with its devices by state, and its vital signs."""
    states = device_states(box) if _trouble(box, state, screen) is None else []
    count = f"  {counted(len(box.devices), 'device')}" + (
        f": {f' {screen.glyphs.dot} '.join(states)}" if states else ""
    )
    if box.limit is not None and box.limit < len(box.devices):
        count += f", at most {box.limit} used"
    left = Text.assemble(screen.glyphs.mark if is_marked else " ", title, (box_name(box, state), "bold"), count)
    return spread(left, Text("   ".join(_vital_signs(box, state, screen, bool(title))) + " "), screen)


def _vital_signs(box: Box, state: MonitorState, screen: Screen, is_alone: bool) -> Iterable[str]:
    if not screen.is_narrow:
        if box.started is not None and _trouble(box, state, screen) is None:
            yield f"daemon up {duration(by_its_clock(box, screen).now - box.started)}"
        yield "mqtt " + ("lost" if state.brokers.get(box.broker) else "ok")
    if is_alone:
        yield screen.clock(screen.now)


def boxes_header(state: MonitorState, screen: Screen) -> Text:
    """How many boxes there are, and how they are."""
    troubles = [_trouble(box, state, screen) for box in state.boxes.values()]
    well = sum(trouble is None for trouble in troubles)
    words = [f"{well} online"] if well else []
    words += [f"{len(troubles) - well} away"] if well < len(troubles) else []
    left = Text.assemble(" cnnbo watch   ", f"{counted(len(troubles), 'box')}: {f' {screen.glyphs.dot} '.join(words)}")
    return spread(left, Text(screen.clock(screen.now) + " "), screen)


def _trouble(box: Box, state: MonitorState, screen: Screen) -> str | None:
    """What is wrong with a box, in a word or two; None while it is well."""
    if state.brokers.get(box.broker) is not None:
        return "out of reach"
    if box.availability == "offline":
        return "offline"
    if box.availability is None:
        return "has not said whether it is online"
    if (_age_s(box, screen) or 0.0) > box.patience_s:
        return "silent"
    return None


def _age_s(box: Box, screen: Screen) -> float | None:
    """For how long a box has said nothing; None if it never said anything."""
    return None if box.last_told is None else by_its_clock(box, screen).now - box.last_told


def trouble_line(box: Box, state: MonitorState, screen: Screen) -> list[Text]:
    """What is wrong with a box, and how old that makes everything below; nothing while it is well."""
    trouble = _trouble(box, state, screen)
    if trouble is None:
        return []
    age, age_s = "", _age_s(box, screen)
    if age_s is not None:
        age = f" Last values below, from {screen.clock(screen.now - age_s)}, {duration(age_s)} old."
    return [Text(f" {box_name(box, state)}: {trouble}.{age}", "bold red")]


def boxes_table(state: MonitorState, screen: Screen, marked: Box, count: int) -> list[Text]:
    """A line for each box, at most `count`: those around the marked one where there are more."""
    keys = sorted(state.boxes)
    first = max(0, min(keys.index(marked.key) - count // 2, len(keys) - count))
    shown = [state.boxes[key] for key in keys[first : first + count]]
    columns = [
        Column("box", least=8),
        Column("devices"),
        Column("study", rank=3),
        Column("done", RIGHT, rank=2),
        Column("best", RIGHT, rank=1),
        Column("end"),
    ]
    lines = table(columns, [Row(_cells(box, state, screen), box is marked) for box in shown], screen)
    hidden = len(keys) - len(shown)
    return [*lines, *([Text(f" and {counted(hidden, 'box')} more", "dim")] if hidden else [])]


def _cells(box: Box, state: MonitorState, screen: Screen) -> list[Text]:
    studies = told_studies(box)
    study = studies[0] if studies else None
    best = study.summary.best if study is not None else None
    return [
        Text(box_name(box, state), "bold"),
        _devices(box, _trouble(box, state, screen) is None, screen),
        Text("none" if study is None else study.name),
        Text("" if study is None else done(study)),
        Text("" if best is None else figure(best.value), "green"),
        _end(box, study, state, screen),
    ]


def _devices(box: Box, is_well: bool, screen: Screen) -> Text:
    """How many train, which people look for, and why others don't; what was so on a box that is away says nothing."""
    if not is_well:
        return Text(counted(len(box.devices), "device"))
    states = [device.state for device in box.devices.values()]
    text = Text(f"{states.count('busy')} of {len(states)} training")
    for state, style in (("foreign", ""), ("drained", ""), ("quarantined", "bold red")):
        is_wanted = state == "quarantined" or not (screen.is_narrow and states.count("busy"))
        if is_wanted and (count := states.count(state)):
            text.append(f", {count} {STATES[state]}", style)
    return text


def _end(box: Box, study: Study | None, state: MonitorState, screen: Screen) -> Text:
    """When the study ends, or why there is no news of it."""
    trouble = _trouble(box, state, screen)
    if trouble is not None:
        age_s = _age_s(box, screen)
        return Text(trouble if age_s is None else f"{trouble}, {duration(age_s)} old", "bold red")
    if study is None:
        return Text("")
    end = (
        forecast(study, replace(by_its_clock(box, screen), width=LEAST_WIDTH))
        if study.summary.state == "running"
        else ""
    )
    return Text(end or study.summary.state)
