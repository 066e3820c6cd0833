"""From a state folder to what a report is made of, whether or not a daemon is writing there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnnbo.cli.output import device_label
from cnnbo.cli.reporting.context import Context, Spell
from cnnbo.cli.reporting.facts import DataFacts, Facts, gather_facts, read_facts
from cnnbo.daemon.journal import StoredStudy, read_journal, read_timeline
from cnnbo.scheduler.comparison import Members
from cnnbo.scheduler.errors import RequestError
from cnnbo.scheduler.spec import StudySpec
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Attempt


@dataclass(frozen=True, slots=True)
class Record:
    """What a state folder holds about one study or comparison.

    Attributes:
        name: of the study or the comparison.
        state: the folder.
        stored: the study, or those of the comparison; at least one, with at least one trial that ended.
        members: the comparison; None for a single study.
        context: for captions.
        facts: about data, software and machine.
        is_bundle: whether the folder is an unzipped bundle.
    """

    name: str
    state: Path
    stored: tuple[StoredStudy, ...]
    members: Members | None
    context: Context
    facts: Facts
    is_bundle: bool

    @property
    def studies(self) -> tuple[Study, ...]:
        """The studies of it."""
        return tuple(each.study for each in self.stored)

    @property
    def spec(self) -> StudySpec:
        """What the study, or each run of the comparison, was told to do."""
        runs = () if self.members is None else tuple(self.members.search.values())
        return (runs or self.studies)[0].spec

    @property
    def span(self) -> tuple[float, float]:
        """When the first trial began and the last one ended, or the report was written where one runs."""
        return _span(self.studies, self.context.written_at)

    @property
    def test_set_openings(self) -> int:
        """How often a training opened the test set."""
        return sum(study.test_set_openings for study in self.studies)


def read_record(state: Path, name: str, n_devices: Sequence[int], now: float) -> Record:
    """Read everything about a study or a comparison; changes nothing. A comparison goes before a study of its name.

    Args:
        state: the state folder.
        name: of the study or the comparison.
        n_devices: see `Context`.
        now: when the report is written, in seconds since the epoch.

    Raises:
        RequestError: there is none of that name, or none of its trials has ended.
        ConfigurationError: the journal can't be read.
    """
    stored, devices = read_journal(state)
    members = Members.of((each.study for each in stored), name)
    chosen = tuple(each for each in stored if each.study in members.studies)
    if not chosen:
        chosen = tuple(each for each in stored if each.study.name == name)
    if not chosen:
        raise RequestError(f"there is no study and no comparison {name!r} in {state}; there are: {_names(stored)}.")
    studies = [each.study for each in chosen]
    if not any(trial.state.is_ended for study in studies for trial in study.trials):
        raise RequestError(
            f"no trial of {name} has ended yet, so there is nothing to report; see how it goes: cnnbo watch"
        )
    used = sorted({attempt.device for attempt in _attempts(studies)})
    spec = next((study.spec for study in members.search.values()), studies[0].spec)
    bundled = read_facts(state)
    facts = bundled or gather_facts(spec.data_dir, any(not device.startswith("cpu-") for device in used))
    context = replace(
        _context(facts, spec, devices, used),
        written_at=now,
        activities=_spells(state, used, *_span(studies, now)),
        n_devices=tuple(n_devices),
    )
    return Record(name, state, chosen, members if members.studies else None, context, facts, bundled is not None)


def _names(stored: Iterable[StoredStudy]) -> str:
    """Every comparison and every study that is part of none."""
    parts = [(each.study.name, each.study.spec.part) for each in stored]
    names = dict.fromkeys(name if part is None else part.plan.name for name, part in parts)
    return ", ".join(names) or "none"


def _attempts(studies: Iterable[Study]) -> list[Attempt]:
    return [attempt for study in studies for trial in study.trials for attempt in trial.attempts]


def _span(studies: Sequence[Study], now: float) -> tuple[float, float]:
    attempts = _attempts(studies)
    return (
        min((attempt.started for attempt in attempts), default=now),
        max((now if attempt.ended is None else attempt.ended for attempt in attempts), default=now),
    )


def planned_record(specs: Sequence[StudySpec]) -> Record:
    """What would be known of a comparison that begins with these studies, before its first trial."""
    stored = tuple(StoredStudy(key, Study(spec)) for key, spec in enumerate(specs))
    part = specs[0].part
    assert part is not None
    facts = gather_facts(specs[0].data_dir, False)
    members = Members.of((each.study for each in stored), part.plan.name)
    return Record(part.plan.name, Path(), stored, members, _context(facts, specs[0], (), ()), facts, is_bundle=False)


def _context(facts: Facts, spec: StudySpec, devices: Iterable[Mapping[str, object]], used: Sequence[str]) -> Context:
    known = {str(device["uuid"]): device for device in devices if device["uuid"] in used}
    train, validation = facts.data.sides or (None, None)
    price = spec.budget.price_per_device_hour
    return Context(
        data_name=_honest(facts.data),
        is_svhn=facts.data.is_svhn,
        devices=tuple(dict.fromkeys(str(known[uuid]["name"]) if uuid in known else uuid for uuid in used)),
        written_at=0.0,
        device_names={uuid: device_label(device) for uuid, device in known.items()},
        price_per_device_hour=price if price > 0 else None,
        train_images=train,
        validation_images=validation,
        test_images=facts.data.images.get("test"),
    )


def _honest(data: DataFacts) -> str:
    """The folder's name, so that nobody takes other data in a folder called after SVHN for it."""
    is_misnamed = "svhn" in data.name.lower() and not data.is_svhn
    return f"{data.name} (not the official files)" if is_misnamed else data.name


def _spells(state: Path, used: Sequence[str], begin: float, end: float) -> tuple[Spell, ...]:
    """What the devices in use were up to from begin to end, in seconds since the epoch."""
    return tuple(
        Spell(
            device=activity.device,
            begun=max(activity.at, begin),
            ended=end if ended is None else min(ended, end),
            activity=activity.activity,
            reason=activity.reason,
            study=activity.study,
            trial=activity.trial,
        )
        for activity, ended in read_timeline(state)
        if activity.device in used and activity.at < end and (ended is None or ended > begin)
    )
