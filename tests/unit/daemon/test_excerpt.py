"""A journal that is handed on: the studies that were asked for, whole, and nothing of the box."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.comparisons import BEGIN, Played, play, train

from cnnbo.daemon.board import Activity
from cnnbo.daemon.excerpt import write_excerpt
from cnnbo.daemon.journal import JOURNAL_NAME, read_events, read_journal, read_timeline, write_journal
from cnnbo.models.registry import SVHN_CNN
from cnnbo.scheduler.events import StudyAmended, TrialFailed, TrialStarted
from cnnbo.scheduler.spec import Origin, StudySpec, TrialSettings
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Failure

PRIVATE = ("hunter2", "alice", "secret-token", "other-study", "thesis", "colleague")
SPEC = StudySpec(
    SVHN_CNN.space,
    name="shared",
    model=SVHN_CNN.name,
    evaluations=8,
    optimizer="random",
    data_dir="/home/alice/thesis/street_mnist",
    trial=TrialSettings(python="/home/alice/bin/python3"),
    origin=Origin("/home/alice/thesis", {"TOKEN": "hunter2", "HOME": "/home/alice"}, "/home/alice/bin/python", "alice"),
)
DEVICES = [
    {"uuid": "cpu-0", "name": "A Processor", "index": 0, "state": "foreign", "reason": "alice", "study": "other-study"},
    {"uuid": "GPU-9", "name": "a colleague's", "index": 1, "state": "idle", "reason": None, "study": None},
]


def crash(at: float, trial: int, attempt: int) -> TrialFailed:
    message = "no file /home/alice/thesis/notes.txt"
    return TrialFailed(at, trial, attempt, Failure.CRASHED, message, evidence={"message": message, "exit_code": 1})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a study that tells much of its owner, and another one beside it."""
    shared, other = Played(SPEC), Played(replace(SPEC, name="other-study", seed=5))
    play([shared], train)
    end = play([other], train, BEGIN + 10.0)
    shared.take(StudyAmended(end, replace(SPEC, evaluations=9)))
    shared.propose(end)
    shared.take(TrialStarted(end, 9, 1, "cpu-0", "secret-token"))
    shared.take(crash(end + 1.0, 9, 1))
    folder = tmp_path / "state"
    folder.mkdir()
    activities = [
        Activity(BEGIN - 99.0, "cpu-0", "idle", "no study runs"),
        Activity(BEGIN, "cpu-0", "training", None, "shared", 1),
        Activity(BEGIN + 5.0, "cpu-0", "training", None, "other-study", 1),
        Activity(BEGIN + 6.0, "cpu-0", "foreign", "alice: python thesis.py (pid 7)"),
        Activity(BEGIN + 7.0, "cpu-0", "idle", "waits for its next trial"),
        Activity(BEGIN + 8.0, "cpu-0", "idle", "the box's limit is 0 (alice)"),
        Activity(BEGIN + 9.0, "GPU-9", "drained", "by a colleague"),
    ]
    write_journal(folder / JOURNAL_NAME, [other.events, shared.events], DEVICES, activities)
    return folder


@pytest.fixture
def excerpt(state: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "excerpt"
    folder.mkdir()
    [key] = [stored.key for stored in read_journal(state)[0] if stored.study.name == "shared"]
    write_excerpt(state, {key}, folder / JOURNAL_NAME)
    return folder


def study_of(folder: Path) -> Study:
    return next(stored.study for stored in read_journal(folder)[0] if stored.study.name == "shared")


def test_the_studies_come_whole(state: Path, excerpt: Path) -> None:
    """Whoever checks a result needs every trial and every proposal as it was."""
    original, copy = study_of(state), study_of(excerpt)
    assert len(read_journal(excerpt)[0]) == 1

    def outcomes(study: Study) -> list[object]:
        return [(t.id, t.point, t.state, t.value, t.failure, t.metrics, t.source, t.ask) for t in study.trials]

    assert outcomes(copy) == outcomes(original)
    assert [event.at for event in read_events(excerpt, 1)] == [event.at for event in read_events(state, 2)]


def test_nothing_of_the_box_is_in_the_file(excerpt: Path) -> None:
    """A bundle is published: neither a password in the environment nor a name may be anywhere in its bytes."""
    assert [path.name for path in excerpt.iterdir()] == [JOURNAL_NAME]
    content = (excerpt / JOURNAL_NAME).read_bytes()
    assert [word for word in PRIVATE if word.encode() in content] == []
    spec = study_of(excerpt).spec
    assert (spec.data_dir, spec.trial.python, spec.origin) == ("/street_mnist", "python3", Origin())
    [crashed] = [trial for trial in study_of(excerpt).trials if trial.failure == "crashed"]
    assert crashed.message == "no file …/notes.txt"


def test_devices_that_were_used_keep_name_and_timeline(excerpt: Path) -> None:
    """Which device, and how busy it was, belongs to the result; who else used it doesn't."""
    _, [device] = read_journal(excerpt)
    assert (device["uuid"], device["name"], device["state"], device["study"]) == ("cpu-0", "A Processor", "idle", None)
    told = [(a.activity, a.reason, a.study) for a, _ in read_timeline(excerpt)]
    assert told == [
        ("idle", "no study runs", None),
        ("training", None, "shared"),
        ("training", None, "(another)"),
        ("foreign", None, None),
        ("idle", "waits for its next trial", None),
        ("idle", None, None),
    ]


def test_the_same_excerpt_has_the_same_bytes(state: Path, excerpt: Path, tmp_path: Path) -> None:
    """Two people who bundle the same journal can compare checksums."""
    write_excerpt(state, {2}, tmp_path / "again.sqlite")
    assert (tmp_path / "again.sqlite").read_bytes() == (excerpt / JOURNAL_NAME).read_bytes()
