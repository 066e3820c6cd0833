"""What the monitor knows: a fold of MQTT messages, without I/O, clock or terminal.

Whatever arrives is survived: an unknown topic, a payload that is no JSON, a field of the wrong type count as not told.

A box is believed dead while its `availability` says `offline`. That text carries no boot; the will of a daemon's former
life that arrives late is contradicted by the daemon itself, so the newest word is always the right one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from cnnbo.scheduler.insight import StudyInsight

Body = Mapping[str, object]


def _number(body: Body, key: str) -> float | None:
    value = body.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _whole(body: Body, key: str) -> int | None:
    number = _number(body, key)
    return None if number is None else int(number)


def _text(body: Body, key: str) -> str | None:
    value = body.get(key)
    return value if isinstance(value, str) else None


def _object(body: Body, key: str) -> Body:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _moment(body: Body, key: str) -> float | None:
    """An RFC 3339 time as seconds since the epoch."""
    try:
        return datetime.fromisoformat(_text(body, key) or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Device:
    """A device as its topic tells; the fields are those of `cnnbo devices --json`.

    Attributes:
        told: when the daemon said so, seconds since the epoch.
        body: the message without its envelope.
    """

    uuid: str
    index: int | None
    name: str
    state: str
    reason: str | None
    memory_used_mib: float | None
    memory_total_mib: float | None
    utilisation_percent: float | None
    temperature_c: float | None
    power_w: float | None
    study: str | None
    trial: int | None
    phase: str | None
    told: float
    body: Body

    @classmethod
    def read(cls, uuid: str, body: Body, told: float) -> Self:
        return cls(
            uuid=uuid,
            index=_whole(body, "index"),
            name=_text(body, "name") or uuid,
            state=_text(body, "state") or "unknown",
            reason=_text(body, "reason"),
            memory_used_mib=_number(body, "memory_used_mib"),
            memory_total_mib=_number(body, "memory_total_mib"),
            utilisation_percent=_number(body, "utilisation_percent"),
            temperature_c=_number(body, "temperature_c"),
            power_w=_number(body, "power_w"),
            study=_text(body, "study"),
            trial=_whole(body, "trial"),
            phase=_text(body, "phase"),
            told=told,
            body=body,
        )

    @property
    def label(self) -> str:
        """What people call it: its index where it has one."""
        return self.uuid if self.index is None else str(self.index)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running trial says it has come.

    Attributes:
        step, steps, epoch, epochs: as reported, None where not.
        metrics: metric names with finite numbers.
        told: when, seconds since the epoch.
    """

    step: int | None
    steps: int | None
    epoch: int | None
    epochs: int | None
    metrics: Mapping[str, float]
    told: float

    @classmethod
    def read(cls, body: Body, told: float) -> Self:
        metrics = _object(body, "metrics")
        return cls(
            step=_whole(body, "step"),
            steps=_whole(body, "steps"),
            epoch=_whole(body, "epoch"),
            epochs=_whole(body, "epochs"),
            metrics={name: number for name in metrics if (number := _number(metrics, name)) is not None},
            told=told,
        )

    @property
    def fraction(self) -> float | None:
        """Share of the work that is done, 0 to 1; by steps, else by epochs."""
        for done, total in ((self.step, self.steps), (self.epoch, self.epochs)):
            if done is not None and total:
                return min(1.0, max(0.0, done / total))
        return None


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial as its topic tells.

    Attributes:
        device: id of the device of the newest attempt.
        started: when the newest attempt began, seconds since the epoch.
        body: the message without its envelope.
    """

    id: int
    state: str
    configuration: Mapping[str, object]
    value: float | None
    failure: str | None
    source: str | None
    duration_s: float | None
    device: str | None
    started: float | None
    body: Body

    @classmethod
    def read(cls, trial_id: int, body: Body) -> Self:
        attempts = body.get("attempts")
        newest = attempts[-1] if isinstance(attempts, list) and attempts and isinstance(attempts[-1], dict) else {}
        return cls(
            id=trial_id,
            state=_text(body, "state") or "unknown",
            configuration=_object(body, "configuration"),
            value=_number(body, "value"),
            failure=_text(body, "failure"),
            source=_text(body, "source"),
            duration_s=_number(body, "duration_s"),
            device=_text(newest, "device"),
            started=_moment(newest, "started"),
            body=body,
        )

    @property
    def outcome(self) -> str:
        """Its state in the word that says most: the failure's class, `done`, `running`, …"""
        return self.failure or {"complete": "done"}.get(self.state, self.state)


@dataclass(frozen=True, slots=True)
class Best:
    """The incumbent: which trial, its value, and its configuration."""

    trial: int | None
    value: float
    configuration: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Summary:
    """A study as its topic tells: the `show` object without trials, and what screens need beside it.

    Attributes:
        space: the parameters' names in their order; empty where not told.
        insight: what the surrogate believes, in the user's direction; None as long as there is none.
        is_stop_advised: whether the daemon hints that stopping is reasonable.
        body: the message without its envelope.
    """

    state: str
    reason: str | None
    evaluations: int | None
    finished: int
    running: int
    failed: int
    best: Best | None
    energy_kwh: float | None
    cost: float | None
    eta_s: float | None
    spent_s: float | None
    metric: str | None
    direction: str
    optimizer: str | None
    space: tuple[str, ...]
    insight: StudyInsight | None
    is_stop_advised: bool
    owner: str | None
    body: Body

    @classmethod
    def read(cls, body: Body) -> Self:
        space = body.get("space")
        insight = _object(body, "insight")
        return cls(
            state=_text(body, "state") or "unknown",
            reason=_text(body, "reason"),
            evaluations=_whole(body, "evaluations"),
            finished=_whole(body, "finished") or 0,
            running=_whole(body, "running") or 0,
            failed=_whole(body, "failed") or 0,
            best=_best(body),
            energy_kwh=_number(body, "energy_kwh"),
            cost=_number(body, "cost"),
            eta_s=_number(body, "eta_s"),
            spent_s=_number(body, "spent_s"),
            metric=_text(body, "metric"),
            direction=_text(body, "direction") or "maximize",
            optimizer=_text(body, "optimizer"),
            space=tuple(str(name) for name in space) if isinstance(space, list) else (),
            insight=StudyInsight.read(insight),
            is_stop_advised=insight.get("stop_advised") is True,
            owner=_text(body, "owner"),
            body=body,
        )


def _best(body: Body) -> Best | None:
    best = _object(body, "best")
    value = _number(best, "value")
    return None if value is None else Best(_whole(best, "trial"), value, _object(best, "configuration"))


@dataclass(slots=True)
class Study:
    """Everything heard about one study; the trials may be known before the summary is."""

    name: str
    summary: Summary = field(default_factory=lambda: Summary.read({}))
    trials: dict[int, Trial] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether the study's own topic has been heard, and not only some of its trials."""
        return bool(self.summary.body)


@dataclass(slots=True)
class Box:
    """Everything heard from one node at one broker.

    Attributes:
        availability: `online`, `offline`, or None as long as nothing was said.
        last_told: when the daemon last said anything, by its own clock, seconds since the epoch.
        started: when that daemon began, if `info` told.
    """

    node: str
    broker: str
    availability: str | None = None
    last_told: float | None = None
    started: float | None = None
    version: str | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)


_DIGITS = 9  # of a trial's number; of thousands of them Python makes no number
_ENVELOPE = ("schema", "ts", "boot", "seq")


class MonitorState:
    """All boxes, as far as messages have told.

    Args:
        base: first level or levels of the topics, as in the daemons' settings.

    Attributes:
        boxes: by broker and node.
        brokers: for each broker why there is no connection, None while there is one.
    """

    def __init__(self, base: str = "cnnbo") -> None:
        self._prefix = f"{base}/v1/"
        self._seen: dict[tuple[str, str], tuple[str | None, int]] = {}  # newest (boot, seq) by broker and topic
        self.boxes: dict[tuple[str, str], Box] = {}
        self.brokers: dict[str, str | None] = {}

    def apply(self, topic: str, payload: bytes, now: float, broker: str = "") -> str | None:
        """Take one message.

        Args:
            topic: the whole topic.
            payload: as it came; empty clears the topic.
            now: seconds since the epoch, for messages that carry no time.
            broker: where it came from; nodes of two brokers are never confused.

        Returns:
            A line for people if something turned (a trial ended, a device was lost, …), else None. Never raises.
        """
        node, _, path = topic.removeprefix(self._prefix).partition("/")
        if not topic.startswith(self._prefix) or not node:
            return None
        match path.split("/"):
            case ["availability"]:
                return self._availability(node, broker, payload)
            case ["info" | "device" | "study", *_] as levels:
                body = _decoded(payload)
                if payload and (body is None or self._is_old(topic, broker, body)):
                    return None
                return self._told(self._box(node, broker), levels, body, now)
            case _:
                return None

    def _box(self, node: str, broker: str) -> Box:
        return self.boxes.setdefault((broker, node), Box(node, broker))

    def _availability(self, node: str, broker: str, payload: bytes) -> str | None:
        if payload not in (b"online", b"offline"):
            return None
        box = self._box(node, broker)
        before, box.availability = box.availability, payload.decode()
        return None if before == box.availability else f"{node} {box.availability}"

    def _is_old(self, topic: str, broker: str, body: Body) -> bool:
        """Whether this message, or a newer one of the same boot, was taken already; remembers it if not."""
        boot, seq = _text(body, "boot"), _whole(body, "seq")
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
            told = _moment(body, "ts") or now
            box.last_told = max(told, box.last_told or told)
            body = {key: value for key, value in body.items() if key not in _ENVELOPE}
        match levels:
            case ["info"]:
                box.started = _moment(body or {}, "started")
                box.version = _text(body or {}, "version")
                return None
            case ["device", uuid]:
                return self._device(box, uuid, body, told)
            case ["study", name]:
                return self._study(box, name, body)
            case ["study", name, "trial", trial, *rest] if trial.isdecimal() and len(trial) <= _DIGITS:
                study = box.studies.setdefault(name, Study(name))
                return self._trial(box, study, int(trial), rest, body, told)
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

    def _study(self, box: Box, name: str, body: Body | None) -> str | None:
        if body is None:
            box.studies.pop(name, None)
            return None
        study = box.studies.setdefault(name, Study(name))
        before, study.summary = study.summary, Summary.read(body)
        if before.state == study.summary.state:
            return None
        return f"{box.node} {name} {study.summary.state}" + (
            f": {study.summary.reason}" if study.summary.reason else ""
        )

    def _trial(
        self, box: Box, study: Study, trial_id: int, rest: list[str], body: Body | None, told: float
    ) -> str | None:
        if rest == ["progress"] and body is not None:
            study.progress[trial_id] = Progress.read(body, told)
        if rest:
            return None
        if body is None:
            self._forget_trial(box, study, trial_id)
            return None
        before = study.trials.get(trial_id)
        trial = study.trials[trial_id] = Trial.read(trial_id, body)
        if trial.state != "running":
            study.progress.pop(trial_id, None)
        if before is not None and before.state == trial.state:
            return None
        value = "" if trial.value is None else f" {trial.value:.6g}"
        return f"{box.node} {study.name} #{trial_id} {trial.outcome}{value}"

    def _forget_trial(self, box: Box, study: Study, trial_id: int) -> None:
        study.trials.pop(trial_id, None)
        study.progress.pop(trial_id, None)
        if not study.trials and not study.is_told:
            box.studies.pop(study.name, None)  # it was cleared before the last of its trials was

    def to_json(self) -> dict[str, object]:
        """Everything as JSON data: the objects of the topics without their envelopes, trials inside of their study."""
        return {"boxes": [_box_json(self.boxes[key]) for key in sorted(self.boxes)]}


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


def sorted_devices(box: Box) -> list[Device]:
    """By index; those without one come last."""
    return sorted(box.devices.values(), key=lambda d: (d.index is None, d.index or 0, d.uuid))


def sorted_studies(box: Box) -> list[Study]:
    """What is running first, then what is paused, then what has ended; by name among equals."""
    order = {"running": 0, "paused": 1}
    return sorted(box.studies.values(), key=lambda s: (order.get(s.summary.state, 2), s.name))
