"""A journal of some studies only, without what is nobody else's business: for people who check a result elsewhere.

Left out are the caller's environment, working directory and name, the paths of folders but for the data folder's own
name, the marks of processes, other studies, and what was said of devices by or about people.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import read_events, read_journal, read_timeline, write_journal
from cnnbo.scheduler.events import Event, StudyAmended, StudyCreated, TrialFailed, TrialStarted
from cnnbo.scheduler.fleet import DeviceState
from cnnbo.scheduler.spec import Origin, StudySpec

_NOW: Final = {"state": DeviceState.IDLE, "reason": None, "since": None, "study": None, "trial": None, "phase": None}
"""What a device is up to at the moment is no part of a result."""

_OTHERS: Final = "(another)"
"""Stands for other studies, whose trials kept a device busy too; no study can be called that."""

_PLAIN: Final = re.compile(r"[a-z0-9 ,.:%-]+")
"""Reasons that name neither people, in brackets, nor folders."""


def write_excerpt(state: Path, keys: Collection[int], target: Path) -> None:
    """Copy studies of a state folder into a journal of their own; whoever writes the first one is not disturbed.

    Args:
        state: the state folder.
        keys: of the studies, as `read_journal` gives them; at least one.
        target: the new journal, in a folder that exists; nothing is there yet.

    Raises:
        ConfigurationError: the state folder's journal can't be read.
        sqlite3.Error: the new one can't be written.
    """
    stored, devices = read_journal(state)
    studies = [each.study for each in stored if each.key in keys]
    courses = [published(read_events(state, each.key), state) for each in stored if each.key in keys]
    used = {attempt.device for study in studies for trial in study.trials for attempt in trial.attempts}
    names = {study.name for study in studies}
    begin = min(course[0].at for course in courses)
    end = max(course[-1].at for course in courses)
    write_journal(
        target,
        courses,
        [_silenced(device) for device in devices if device["uuid"] in used],
        [
            _anonymous(activity, names)
            for activity, ended in sorted(read_timeline(state), key=lambda spell: spell[0].at)
            if activity.device in used and activity.at <= end and (ended is None or ended >= begin)
        ],
    )


def published(course: Sequence[Event], state: Path) -> list[Event]:
    """A study's events without what says something of the box and its people.

    Messages of failed trials lose the names of folders that are known to be private; what else the training code wrote
    stays as it is.

    Args:
        course: the events, oldest first, at least one.
        state: the state folder they come from.
    """
    assert isinstance(course[0], StudyCreated)
    spec = course[0].spec
    home = spec.origin.environment.get("HOME", "/")
    data = "/" if spec.data_dir is None else str(Path(spec.data_dir).parent)
    # The longest first: one of them may begin with another.
    places = sorted({place for place in (str(state), spec.origin.cwd, home, data) if place != "/"}, key=len)[::-1]
    return [_published(event, places) for event in course]


def _published(event: Event, places: Sequence[str]) -> Event:
    match event:
        case StudyCreated() | StudyAmended():
            return replace(event, spec=published_spec(event.spec))
        case TrialStarted():
            return replace(event, token="")
        case TrialFailed():
            evidence = {
                key: _without(places, fact) if isinstance(fact, str) else fact for key, fact in event.evidence.items()
            }
            return replace(event, message=_without(places, event.message), evidence=evidence)
        case _:
            return event


def _without(places: Sequence[str], text: str) -> str:
    for place in places:
        text = text.replace(place, "…")
    return text


def published_spec(spec: StudySpec) -> StudySpec:
    """The spec without its origin and without the folders that data and interpreter lie in."""
    data_dir = None if spec.data_dir is None else f"/{Path(spec.data_dir).name}"
    python = None if spec.trial.python is None else Path(spec.trial.python).name
    return replace(spec, origin=Origin(), data_dir=data_dir, trial=replace(spec.trial, python=python))


def _silenced(device: Mapping[str, object]) -> dict[str, object]:
    return {**device, **_NOW}


def _anonymous(activity: Activity, names: Collection[str]) -> Activity:
    is_others = activity.study is not None and activity.study not in names
    is_plain = activity.activity == DeviceState.IDLE and _PLAIN.fullmatch(activity.reason or "")
    return replace(
        activity,
        reason=activity.reason if is_plain else None,
        study=_OTHERS if is_others else activity.study,
        trial=0 if is_others else activity.trial,
    )
