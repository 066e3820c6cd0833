"""What a soak writes down, one row every few seconds, and what is made of the rows."""

import csv
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from living.daemon import Daemon

WARM_UP = 200
"""Trials before which figures count as warm-up: caches fill, threads are made."""

PROCESSES = ("daemon", "proposer", "broker")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a daemon, at its proposer and broker (0 where there is none), and at the files it keeps.

    Attributes:
        elapsed_s: since the first study was submitted.
        trials: finished so far, over all studies.
        state_kib: all files of the state folder.
        trials_kib: of them, those of trials.
    """

    elapsed_s: float
    trials: int
    daemon_rss_mib: float = 0.0
    daemon_descriptors: float = 0
    daemon_threads: float = 0
    daemon_cpu_s: float = 0.0
    proposer_rss_mib: float = 0.0
    proposer_descriptors: float = 0
    proposer_threads: float = 0
    proposer_cpu_s: float = 0.0
    broker_rss_mib: float = 0.0
    broker_descriptors: float = 0
    broker_threads: float = 0
    broker_cpu_s: float = 0.0
    state_kib: float = 0.0
    trials_kib: float = 0.0
    journal_kib: float = 0.0
    wal_kib: float = 0.0
    daemon_log_kib: float = 0.0
    proposer_log_kib: float = 0.0
    broker_log_kib: float = 0.0

    @classmethod
    def take(cls, daemon: Daemon, elapsed_s: float) -> Self:
        """Look at a daemon and everything that belongs to it."""
        held: dict[str, float] = {}
        for role, vitals in daemon.vitals().items():
            held |= {f"{role}_{name}": value for name, value in asdict(vitals).items()}
        files = {
            "trials_kib": _size(daemon.state / "studies"),
            "state_kib": _size(daemon.state),
            "journal_kib": _size(daemon.state / "journal.sqlite"),
            "wal_kib": _size(daemon.state / "journal.sqlite-wal"),
            "daemon_log_kib": _size(daemon.log),
            "proposer_log_kib": _size(daemon.state / "proposer.log"),
            "broker_log_kib": _size(daemon.state / "broker.log"),
        }
        return cls(elapsed_s=round(elapsed_s, 2), trials=daemon.finished(), **_rounded(held | files))


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def _size(path: Path) -> float:
    """Size of a file, or of all files below a folder, in KiB; 0 where there is nothing."""
    if path.is_dir():
        return sum(_size(entry) for entry in path.iterdir())
    try:
        return path.stat().st_size / 1024
    except FileNotFoundError:  # it went while we looked
        return 0.0


def write(path: Path, samples: Iterable[Sample]) -> None:
    """Write rows as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [entry.name for entry in fields(Sample)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)


def read(path: Path) -> list[Sample]:
    """Read rows that `write` wrote."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figures = [{name: float(text) for name, text in row.items()} for row in rows]
    return [Sample(elapsed_s=row.pop("elapsed_s"), trials=int(row.pop("trials")), **row) for row in figures]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a soak is called stable, and by what.

    Stable means: from half of the trials to the end the daemon's resident memory grows by less than 5 %, and of its
    descriptors and threads the median of the last fifth of the trials is at most that of the fifth after the warm-up.
    Single looks say less: each runner that is just being started holds some descriptors and a thread for a moment.

    Attributes:
        slope_mib: growth of resident memory per 1,000 trials after the warm-up by least squares, by process.
        growth: of the daemon's resident memory from half to the end, as a fraction.
        descriptors, threads: the daemon's median in the fifth after the warm-up, and in the last fifth.
        most_descriptors, most_threads: the most that was ever seen in those two fifths.
        cpu_ms: the daemon's processor time per trial in those two fifths.
    """

    slope_mib: dict[str, float]
    growth: float
    descriptors: tuple[float, float]
    threads: tuple[float, float]
    most_descriptors: tuple[float, float]
    most_threads: tuple[float, float]
    cpu_ms: tuple[float, float]

    @property
    def is_stable(self) -> bool:
        """Whether all of it holds."""
        steady = all(last <= first for first, last in (self.descriptors, self.threads))
        return self.growth < 0.05 and steady


def judge(samples: Sequence[Sample]) -> Judgement:
    """Judge a soak by its rows, which must reach beyond the warm-up."""
    total = samples[-1].trials
    warm = [sample for sample in samples if sample.trials >= WARM_UP]
    first = [sample for sample in warm if sample.trials <= WARM_UP + total // 5]
    last = [sample for sample in samples if sample.trials >= total - total // 5]
    half = next(sample for sample in samples if sample.trials >= total / 2)
    return Judgement(
        slope_mib={name: _slope(warm, f"{name}_rss_mib") for name in PROCESSES},
        growth=samples[-1].daemon_rss_mib / half.daemon_rss_mib - 1,
        descriptors=(_median(first, "daemon_descriptors"), _median(last, "daemon_descriptors")),
        threads=(_median(first, "daemon_threads"), _median(last, "daemon_threads")),
        most_descriptors=(_most(first, "daemon_descriptors"), _most(last, "daemon_descriptors")),
        most_threads=(_most(first, "daemon_threads"), _most(last, "daemon_threads")),
        cpu_ms=(_cpu_ms(first), _cpu_ms(last)),
    )


def column(samples: Sequence[Sample], name: str) -> list[float]:
    """One figure of all samples."""
    return [float(getattr(sample, name)) for sample in samples]


def _slope(samples: Sequence[Sample], name: str) -> float:
    """Least-squares growth of a figure per 1,000 trials."""
    return 1000 * float(np.polyfit(column(samples, "trials"), column(samples, name), 1)[0])


def _median(samples: Sequence[Sample], name: str) -> float:
    return statistics.median(column(samples, name))


def _most(samples: Sequence[Sample], name: str) -> float:
    return max(column(samples, name))


def _cpu_ms(samples: Sequence[Sample]) -> float:
    trials = samples[-1].trials - samples[0].trials
    return 1000 * (samples[-1].daemon_cpu_s - samples[0].daemon_cpu_s) / trials
