"""The rows of a box's devices: how they are, and what each is up to or why it is idle."""

from rich.text import Text

from cnnbo.cli.monitor.canvas import RIGHT, Column, Row, Screen, table
from cnnbo.cli.monitor.figures import duration
from cnnbo.cli.monitor.known import Box, sorted_devices, sorted_studies
from cnnbo.cli.monitor.objects import Device
from cnnbo.cli.monitor.view import View

STATES = {
    "busy": "training",
    "idle": "idle",
    "foreign": "held",
    "drained": "drained",
    "quarantined": "quarantined",
}
"""The states of devices in the words of screens."""

_STYLES = {"busy": "green", "foreign": "yellow", "drained": "yellow", "quarantined": "bold red"}
_WIDE = 120  # columns from which there is room for when somebody came


def device_states(box: Box) -> list[str]:
    """How many devices are in each state, like `3 training`."""
    devices = box.devices.values()
    counts = [(name, sum(device.state == key for device in devices)) for key, name in STATES.items()]
    return [f"{count} {name}" for name, count in counts if count]


def missing_device(box: Box) -> str | None:
    """Why a study has none to start a trial on; None where there is one."""
    states = {device.state for device in box.devices.values()}
    if not states or not states <= {"foreign", "drained", "quarantined"}:
        return None
    count = len(box.devices)
    if len(states) > 1:
        return f"waits for a device: {', '.join(device_states(box))}"
    all_are = {1: "it is", 2: "both are"}.get(count, f"all {count} are")
    return f"waits for a device: {all_are} {STATES[states.pop()]}"


def device_rows(box: Box, screen: Screen, view: View | None = None) -> list[Text]:
    """A row for each device, under titles where there is room; `view` is that of the marked box."""
    devices = sorted_devices(box)
    if not devices:
        return [Text(f" No device known on {box.node}.", "yellow")]
    # What a device is up to is what people look for; it is cut last.
    columns = [
        Column("dev", RIGHT),
        Column("name", rank=3),
        Column("util"),
        Column("memory", RIGHT, max(map(_memory_width, devices)), rank=1),
        Column("temp", RIGHT, 4, rank=2),
        Column("power", RIGHT, 5, rank=4),
        Column("age", RIGHT),
        Column("doing", most=36),
    ]
    mark = None if view is None or view.mark is None else view.mark.device
    rows = [Row(_cells(device, box, screen), device.uuid == mark) for device in devices]
    lines = table(columns, rows, screen, has_titles=not screen.is_low)
    if screen.is_narrow and any(line.cell_len > screen.width for line in lines):  # a reason says more than a name
        nameless = [Row([row.cells[0], *row.cells[2:]], row.is_marked) for row in rows]
        return table([columns[0], *columns[2:]], nameless, screen, has_titles=not screen.is_low)
    return lines


def _cells(device: Device, box: Box, screen: Screen) -> list[Text]:
    util, degree = device.utilisation_percent, screen.glyphs.degree
    age = screen.now - device.told
    is_old = age > box.patience_s
    bar = 5 if screen.is_narrow else 10
    cells = [
        device.label,
        _short_name(device.name, screen),
        "" if util is None else f"{screen.bar(util / 100, bar)} {util:3.0f}%",
        _memory(device),
        "" if device.temperature_c is None else f"{device.temperature_c:.0f}{degree}",
        "" if device.power_w is None or screen.is_narrow else f"{device.power_w:.0f} W",
    ]
    told = Text(duration(age) if is_old else "", "yellow")
    return [*(Text(cell, "dim" if is_old else "") for cell in cells), told, _doing(device, box, screen)]


def _short_name(name: str, screen: Screen) -> str:
    for maker in ("NVIDIA ", "GeForce "):
        name = name.replace(maker, "")
    longest = 12 if screen.is_narrow else 24
    return name if len(name) <= longest else name[: longest - 1] + screen.glyphs.cut


def _memory(device: Device) -> str:
    used, total = device.memory_used_mib, device.memory_total_mib
    if used is None:
        return ""
    return f"{used / 1024:.1f}" + (f"/{total / 1024:.1f}" if total is not None else "") + " GiB"


def _memory_width(device: Device) -> int:
    """That of a device whose memory is full: nothing moves when another digit is needed."""
    if device.memory_used_mib is None or device.memory_total_mib is None:
        return 0
    return 2 * len(f"{device.memory_total_mib / 1024:.1f}") + len("/ GiB")


def _doing(device: Device, box: Box, screen: Screen) -> Text:
    if device.study is not None and device.trial is not None:
        return _training(device, device.study, device.trial, box)
    style = _STYLES.get(device.state, "")
    if device.state == "idle" and not device.reason:
        return Text(f"idle: {_why_idle(box)}")
    if not device.reason:
        return Text(device.state, style)
    since = "" if device.since is None or device.state == "idle" else f" since {screen.hour(device.since)}"
    if device.state == "foreign":  # the reason says who holds it, and with what; that is long enough
        return Text(device.reason + (f",{since}" if since and screen.width >= _WIDE else ""), style)
    if device.reason.startswith(device.state):
        return Text(device.reason + since, style)
    return Text(f"{device.state}{since}: {device.reason}", style)


def _why_idle(box: Box) -> str:
    """Why a device gets no trial that could have one."""
    summaries = [study.summary for study in box.studies.values()]
    if any(summary.state == "running" for summary in summaries):
        return "waits for its next trial"
    if paused := [study.name for study in sorted_studies(box) if study.summary.state == "paused"]:
        return f"{paused[0]} is paused" if len(paused) == 1 else f"{len(paused)} studies are paused"
    return "no study runs"


def _training(device: Device, study: str, trial: int, box: Box) -> Text:
    text = Text(f"{study} #{trial}", "green")
    known = box.studies.get(study)
    course = known.courses.get(trial) if known else None
    if course is not None and course.progress.fraction is not None:
        text.append(f"  {course.progress.fraction:4.0%}")
    if device.phase is not None and not (device.phase == "training" and course is not None):
        text.append(f"  {device.phase}")
    if device.reason:  # who is there too, or that it is the last trial there
        beside = "beside " if device.state == "busy" else f"{device.state}: "
        is_said = device.reason.startswith(device.state)
        text.append(f", {'' if is_said else beside}{device.reason}", "yellow")
    return text
