"""What the monitor knows: a fold of MQTT messages, without I/O, clock or terminal.

Whatever arrives is survived: an unknown topic, a payload that is no JSON, a field of the wrong type count as not told.

A box is believed dead while its `availability` says `offline`. That text carries no boot; the will of a daemon's former
life that arrives late is contradicted by the daemon itself, so the newest word is the right one. But for one: a broker
that is killed after the daemon was may come back with an `online` of before; what was kept by it raises nobody.
"""

import json

from cnnbo.cli.monitor.course import Course
from cnnbo.cli.monitor.fields import Body, moment_of, text_of, whole_of
from cnnbo.cli.monitor.known import Box, BoxKey, Study, sorted_devices, sorted_studies
from cnnbo.cli.monitor.objects import Device, Progress, Trial
from cnnbo.cli.monitor.summary import Summary

_DIGITS = 9  # of a trial's number; of thousands of them Python makes no number
_UNDERWAY_S = 5.0  # a message may have been on its way for so long, with clocks that agree
_ENVELOPE = ("schema", "ts", "boot", "seq")


class MonitorState:
    """All boxes, as far as messages have told.

    Args:
        base: first level or levels of the topics, as in the daemons' settings.
        node: the only box to know, or None for all.

    Attributes:
        base, node: see above.
        others: nodes that were heard of beside the only one.
        boxes: by broker and node.
        brokers: for each broker why there is no connection, None while there is one.
    """

    def __init__(self, base: str = "cnnbo", node: str | None = None) -> None:
        self.base, self.node = base, node
        self._prefix = f"{base}/v1/"
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}  # newest (boot, seq) by broker and topic
        self.others: set[str] = set()
        self.boxes: dict[BoxKey, Box] = {}
        self.brokers: dict[str, str | None] = {}

    def is_live(self, box: Box) -> bool:
        """Whether what is known of a box is how it is now: it is online, and so are we."""
        return box.availability == "online" and self.brokers.get(box.broker) is None

    def apply(self, topic: str, payload: bytes, now: float, broker: str = "", is_retained: bool = False) -> str | None:
        """Take one message.

        Args:
            topic: the whole topic.
            payload: as it came; empty clears the topic.
            now: seconds since the epoch, for messages that carry no time.
            broker: where it came from; nodes of two brokers are never confused.
            is_retained: whether the broker had kept it; one that comes fresh tells what the box's clock says now.

        Returns:
            A line for people if something turned (a trial ended, a device was lost, …), else None. Never raises.
        """
        node, _, path = topic.removeprefix(self._prefix).partition("/")
        if not topic.startswith(self._prefix) or not node:
            return None
        if self.node not in (None, node):
            (self.others.add if payload else self.others.discard)(node)
            return None
        match path.split("/"):
            case ["availability"]:
                return self._availability(node, broker, payload, is_retained)
            case ["info" | "device" | "study", *_] as levels:
                if not payload:
                    self._cleared((broker, node), topic, levels, now)
                    return None
                body = _decoded(payload)
                if body is None or self._is_old(topic, broker, body):
                    return None
                box = self._box(node, broker)
                if not is_retained:
                    box.lost = None
                if not is_retained and (levels[0] == "device" or levels[-1] == "progress"):
                    _compare_clocks(box, body, now)
                return self._told(box, levels, body, now)
            case _:
                return None

    def _box(self, node: str, broker: str) -> Box:
        return self.boxes.setdefault((broker, node), Box(node, broker))

    def _availability(self, node: str, broker: str, payload: bytes, is_retained: bool) -> str | None:
        if payload not in (b"online", b"offline"):
            if not payload and (known := self.boxes.get((broker, node))) is not None:
                known.said = known.lost = None
                self._forget_if_empty(known)
            return None
        box = self._box(node, broker)
        before, box.said = box.availability, payload.decode()
        if box.said == "offline":
            box.lost = box.boot
        elif not is_retained:
            box.lost = None
        return None if before == box.availability else f"{node} {box.availability}"

    def _cleared(self, key: BoxKey, topic: str, levels: list[str], now: float) -> None:
        """A topic was taken off the broker; a box of which nothing is left was, too."""
        self._seen.pop((key[0], topic), None)
        if (box := self.boxes.get(key)) is not None:
            self._told(box, levels, None, now)
            self._forget_if_empty(box)

    def _forget_if_empty(self, box: Box) -> None:
        if box.availability is None and not box.devices and not box.studies:
            del self.boxes[box.key]

    def _is_old(self, topic: str, broker: str, body: Body) -> bool:
        """Whether this message, or a newer one of the same boot, was taken already; remembers it if not."""
        boot, seq = text_of(body, "boot"), whole_of(body, "seq")
        if seq is None or topic.endswith("/progress"):
            return False  # nothing is ever told twice there, and its topics come and go
        last = self._seen.get((broker, topic))
        if last is not None and boot == last[0] and seq <= last[1]:
            return True
        self._seen[broker, topic] = (boot, seq)
        return False

    def _told(self, box: Box, levels: list[str], body: Body | None, now: float) -> str | None:
        told = now
        if body is not None:
            told = moment_of(body, "ts") or now
            if told >= (box.last_told or told):  # retained topics come in any order
                box.last_told, box.boot = told, text_of(body, "boot") or box.boot
            body = {key: value for key, value in body.items() if key not in _ENVELOPE}
        match levels:
            case ["info"]:
                box.started = moment_of(body or {}, "started")
                box.version = text_of(body or {}, "version")
                box.limit = whole_of(body or {}, "limit")
                return None
            case ["device", uuid]:
                return self._device(box, uuid, body, told)
            case ["study", name]:
                return self._study(box, name, body, told)
            case ["study", name, "trial", trial] if trial.isdecimal() and len(trial) <= _DIGITS:
                return self._trial(box, box.studies.setdefault(name, Study(name)), int(trial), body)
            case ["study", name, "trial", trial, "progress"] if trial.isdecimal() and len(trial) <= _DIGITS:
                _take_progress(box.studies.get(name), int(trial), body, told)
                return None
            case _:
                return None

    def _device(self, box: Box, uuid: str, body: Body | None, told: float) -> str | None:
        if body is None:
            box.devices.pop(uuid, None)
            return None
        before = box.devices.get(uuid)
        device = box.devices[uuid] = Device.read(uuid, body, told)
        if before is not None and before.state == device.state:
            return None
        return f"{box.node} device {device.label} {device.state}" + (f": {device.reason}" if device.reason else "")

    def _study(self, box: Box, name: str, body: Body | None, told: float) -> str | None:
        if body is None:
            box.studies.pop(name, None)
            return None
        study = box.studies.setdefault(name, Study(name))
        before, study.summary = study.summary, Summary.read(body, told)
        if before.state == study.summary.state:
            best = study.summary.best
            is_news = best is not None and (before.best is None or before.best.trial != best.trial)
            return f"{box.node} {name} BEST {best.value:.6g} (#{best.trial})" if best is not None and is_news else None
        return f"{box.node} {name} {study.summary.state}" + (
            f": {study.summary.reason}" if study.summary.reason else ""
        )

    def _trial(self, box: Box, study: Study, trial_id: int, body: Body | None) -> str | None:
        if body is None:
            self._forget_trial(box, study, trial_id)
            return None
        before = study.trials.get(trial_id)
        trial = study.trials[trial_id] = Trial.read(trial_id, body)
        if trial.state != "running" or (before is not None and before.started != trial.started):
            study.courses.pop(trial_id, None)
        if trial.state == "pending" or (before is not None and before.state == trial.state):
            return None
        value = "" if trial.value is None else f" {trial.value:.6g}"
        return f"{box.node} {study.name} #{trial_id} {trial.outcome}{value}"

    def _forget_trial(self, box: Box, study: Study, trial_id: int) -> None:
        study.trials.pop(trial_id, None)
        study.courses.pop(trial_id, None)
        if not study.trials and not study.is_told:
            box.studies.pop(study.name, None)  # it was cleared before the last of its trials was

    def to_json(self) -> dict[str, object]:
        """Everything as JSON data: the objects of the topics without their envelopes, trials inside of their study."""
        return {"boxes": [_box_json(self.boxes[key]) for key in sorted(self.boxes)]}


def _compare_clocks(box: Box, body: Body, now: float) -> None:
    """Learn how far a box's clock is behind ours: how old its figures are is told by its own."""
    if (told := moment_of(body, "ts")) is not None:
        box.behind_s = now - told if abs(now - told) > _UNDERWAY_S else 0.0


def _take_progress(study: Study | None, trial_id: int, body: Body | None, told: float) -> None:
    trial = None if study is None else study.trials.get(trial_id)
    if study is None or trial is None or trial.is_ended or body is None:
        return  # it came late: what has ended, or was cleared, must not come back
    progress = Progress.read(body, told)
    course = study.courses.setdefault(trial_id, Course(progress))
    course.take(progress, study.summary.metric)
    study.reported |= course.figures


def _decoded(payload: bytes) -> Body | None:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _box_json(box: Box) -> dict[str, object]:
    return {
        "node": box.node,
        "availability": box.availability,
        "devices": [dict(device.body) for device in sorted_devices(box)],
        "studies": [
            {
                **study.summary.body,
                "name": study.name,
                "trials": [dict(study.trials[i].body) for i in sorted(study.trials)],
            }
            for study in sorted_studies(box)
        ],
    }
