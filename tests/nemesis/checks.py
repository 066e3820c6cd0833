"""What must hold after every round: each checker looks at the evidence and returns the violations, as sentences."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.nemesis.evidence import AttemptFiles, AttemptKey, Round, last_match

from cnnbo.daemon import messages
from cnnbo.scheduler.events import (
    BudgetReached,
    Event,
    PointsSuggested,
    StudyAmended,
    StudyCreated,
    TimeSpent,
    TrialCompleted,
    TrialFailed,
    TrialStarted,
)
from cnnbo.scheduler.spec import Budget
from cnnbo.scheduler.study import Study

Checker = Callable[[Round], list[str]]
Start = TrialStarted
End = TrialCompleted | TrialFailed

_ENVELOPE = ("schema", "ts", "boot", "seq")
_CLOCK_SLACK_S = 0.05
"""Between the daemon's look at the budget and the moment it notes for the start, running trials cost a little more."""


def no_device_had_two_trials(evidence: Round) -> list[str]:
    """One trial on a device at a time, by the order of the journal, and by what the trials saw of each other."""
    violations = [f"two trials on one device: {double}" for double in evidence.doubles]
    holders: dict[str, AttemptKey] = {}
    for row in evidence.rows:
        match row.event:
            case TrialStarted(trial=trial, attempt=attempt, device=device):
                if device in holders:
                    violations.append(
                        f"row {row.seq}: {_key(row.study, trial, attempt)} started on {device}, which "
                        f"{_key(*holders[device])} held"
                    )
                holders[device] = (row.study, trial, attempt)
            case TrialCompleted(trial=trial, attempt=attempt) | TrialFailed(trial=trial, attempt=attempt):
                holders = {d: key for d, key in holders.items() if key != (row.study, trial, attempt)}
    return violations


def every_trial_ended_exactly_once(evidence: Round) -> list[str]:
    """Attempts are numbered from 1 without gaps, each ends once, and no trial is left when its study has ended.

    One that waits when the budget ends its study is left: more budget wakes the study, and it runs.
    """
    violations = []
    for study in evidence.studies:
        for trial, events in _by_trial(evidence.events_of(study)).items():
            violations += [f"{study}/{trial}: {problem}" for problem in _life_problems(events)]
    ended = [row for row in evidence.tables["study"] if row["state"] in ("finished", "failed", "cancelled")]
    may_wait = {row["name"]: row["reason"] == "budget" for row in ended}
    for row in evidence.tables["trial"]:
        is_left = row["state"] == "running" or (row["state"] == "pending" and not may_wait.get(row["study"], True))
        if row["study"] in may_wait and is_left:
            violations.append(f"{row['study']}/{row['id']}: is {row['state']} though its study has ended")
    return violations


def _by_trial(events: Sequence[Event]) -> dict[int, list[Start | End]]:
    found: dict[int, list[Start | End]] = {}
    for event in events:
        if isinstance(event, TrialStarted | TrialCompleted | TrialFailed):
            found.setdefault(event.trial, []).append(event)
    return found


def _life_problems(events: Sequence[Start | End]) -> Iterator[str]:
    running = False
    last = 0
    for event in events:
        if isinstance(event, TrialStarted):
            if running:
                yield f"attempt {event.attempt} started while attempt {last} ran"
            if event.attempt != last + 1:
                yield f"attempt {event.attempt} followed attempt {last}"
            running, last = True, event.attempt
        else:
            if not running or event.attempt != last:
                newest = f"attempt {last} was the newest{'' if running else ' and over'}"
                yield f"attempt {event.attempt} ended, though {newest}"
            running = False
    if running:
        yield f"attempt {last} never ended"


def told_values_are_those_reported(evidence: Round) -> list[str]:
    """Each value told stands in the attempt's result file (or output), and each one that stands there was told."""
    violations = []
    ends = _ends(evidence)
    for key, end in ends.items():
        reported = _reported(evidence.files.get(key, AttemptFiles()), evidence.patterns.get(key[0]))
        told = end.value if isinstance(end, TrialCompleted) else None
        if told != reported:
            violations.append(f"{_key(*key)}: told {told}, reported {reported}")
    unknown = evidence.files.keys() - ends.keys()
    return violations + [f"{_key(*key)}: left files, but its end is not journalled" for key in sorted(unknown)]


def _ends(evidence: Round) -> dict[AttemptKey, End]:
    ends = {}
    for row in evidence.rows:
        if isinstance(row.event, TrialCompleted | TrialFailed):
            ends[row.study, row.event.trial, row.event.attempt] = row.event
    return ends


def _reported(files: AttemptFiles, pattern: str | None) -> float | None:
    """The finite value that an attempt reported; None if it reported none that counts."""
    result = _object(files.result)
    value = result.get("value")
    if "failure" in result or isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if pattern is None:
        return None
    ended = _object(files.exit)  # in the output only a command that ended well, and by itself, has said its last word
    if ended.get("exit_code") != 0 or ended.get("stopped_by") is not None:
        return None
    found = last_match(pattern, files.log)
    return found if found is not None and math.isfinite(found) else None


def _object(text: str | None) -> dict[str, Any]:
    try:
        data = json.loads(text or "")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


@dataclass(slots=True)
class _Account:
    """What a study has spent, told by its events alone.

    Attributes:
        limit: the limit that was reached, until a new budget is given.
    """

    budget: Budget = field(default_factory=Budget)
    running: dict[int, float] = field(default_factory=dict)  # trial -> when it started
    durations: list[float] = field(default_factory=list)
    wall_clock_s: float = 0.0
    limit: str | None = None

    def take(self, event: Event) -> None:
        match event:
            case StudyCreated(spec=spec) | StudyAmended(spec=spec):
                self.budget, self.limit = spec.budget, None
            case TrialStarted():
                self.running[event.trial] = event.at
            case TrialCompleted() | TrialFailed():
                self.durations.append(max(0.0, event.at - self.running.pop(event.trial)))
            case TimeSpent():
                self.wall_clock_s += event.seconds
            case BudgetReached():
                self.limit = event.limit

    def why_not_one_more(self, at: float) -> str | None:
        """DESIGN, section 3: spent + (for each running one the larger of its cost so far and the median) + a median."""
        median = statistics.median(self.durations) if self.durations else 0.0
        if self.limit is not None:
            return f"{self.limit} was reached"
        if self.budget.wall_clock_s is not None and self.wall_clock_s + median > self.budget.wall_clock_s:
            return f"{self.wall_clock_s:.2f} s + a median of {median:.2f} s exceed {self.budget.wall_clock_s:.2f} s"
        if self.budget.cost is None:
            return None
        seconds = sum(self.durations) + median
        seconds += sum(max(at - start - _CLOCK_SLACK_S, median) for start in self.running.values())
        cost = seconds / 3600 * self.budget.price_per_device_hour
        return f"{cost:.6f} exceed the budget of {self.budget.cost:.6f}" if cost > self.budget.cost * 1.000001 else None


def no_trial_started_against_the_budget(evidence: Round) -> list[str]:
    """At each start the budget had room, reckoned from the journal without a look at how cnnbo reckons."""
    violations = []
    accounts: dict[str, _Account] = {}
    for row in evidence.rows:
        account = accounts.setdefault(row.study, _Account())
        if isinstance(row.event, TrialStarted) and (why := account.why_not_one_more(row.event.at)):
            key = _key(row.study, row.event.trial, row.event.attempt)
            violations.append(f"row {row.seq}: {key} started against the budget: {why}")
        account.take(row.event)
    return violations


def retained_topics_are_the_journal(evidence: Round) -> list[str]:
    """Who subscribes at rest is told what the command line prints, and after an orderly stop that the box is gone."""
    violations = compare_topics(evidence.shown, evidence.devices, evidence.retained)
    if evidence.farewell not in (None, "offline"):
        violations.append(f"availability is {evidence.farewell!r} after the daemon's orderly stop")
    return violations


def every_event_was_told(evidence: Round) -> list[str]:
    """With the broker there at the end, an orderly stop leaves nothing that it has not acknowledged."""
    return [f"{evidence.untold} events still wait for the broker"] if evidence.untold else []


def compare_topics(
    shown: Mapping[str, Mapping[str, Any]], devices: Sequence[Mapping[str, Any]], retained: Mapping[str, Any]
) -> list[str]:
    """Differences between what the command line prints and what the broker retains, envelopes aside."""
    expected: dict[str, Any] = {"availability": "online"}
    for name, study in shown.items():
        expected[f"study/{name}"] = {key: value for key, value in study.items() if key != "trials"}
        expected |= {f"study/{name}/trial/{trial['id']}": trial for trial in study["trials"]}
    expected |= {f"device/{device['uuid']}": device for device in devices}
    found = {topic: _without_envelope(body) for topic, body in retained.items() if topic != "info"}
    violations = [f"{topic} is retained, and nothing is known of it" for topic in sorted(found.keys() - expected)]
    for topic, body in expected.items():
        if topic not in found:
            violations.append(f"{topic} is not retained")
        elif found[topic] != body:
            violations.append(f"{topic}: {_difference(body, found[topic])}")
    return violations


def _without_envelope(body: Any) -> Any:
    return {key: value for key, value in body.items() if key not in _ENVELOPE} if isinstance(body, dict) else body


def _difference(wanted: Any, found: Any) -> str:
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return f"{found!r} instead of {wanted!r}"
    keys = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key) or key not in found]
    return "; ".join(f"{key} is {found.get(key)!r} instead of {wanted.get(key)!r}" for key in sorted(keys))


def replay_gives_the_same_state(evidence: Round) -> list[str]:
    """The events alone rebuild the tables, and what the daemon showed."""
    violations = []
    for name in evidence.studies:
        try:
            study = Study.replay(evidence.events_of(name))
        except Exception as error:
            violations.append(f"{name}: its events can't be replayed: {error!r}")
            continue
        violations += _table_differences(study, evidence)
        again = json.loads(json.dumps(messages.show_object(study, study.ended_at or 0.0)))
        if again != evidence.shown[name]:
            violations.append(f"{name}: the daemon showed another state: {_difference(again, evidence.shown[name])}")
    return violations


def _table_differences(study: Study, evidence: Round) -> list[str]:
    best = study.incumbent
    expected: dict[str, list[dict[str, Any]]] = {
        "study": [
            {
                "name": study.name,
                "state": str(study.state),
                "reason": study.reason,
                "archived": int(study.is_archived),
                "evaluations": study.spec.evaluations,
                "finished": study.finished,
                "best_trial": best.id if best else None,
                "best_value": best.value if best else None,
            }
        ],
        "trial": [
            {
                "study": study.name,
                "id": trial.id,
                "state": str(trial.state),
                "value": trial.value,
                "failure": str(trial.failure) if trial.failure else None,
                "source": str(trial.source),
                "configuration": json.dumps(dict(trial.configuration)),
                "message": trial.message,
            }
            for trial in study.trials
        ],
        "attempt": [
            {
                "study": study.name,
                "trial": trial.id,
                "n": attempt.n,
                "device": attempt.device,
                "started": messages.rfc3339(attempt.started),
                "ended": messages.rfc3339(attempt.ended),
                "outcome": attempt.outcome,
            }
            for trial in study.trials
            for attempt in trial.attempts
        ],
    }
    violations = []
    for table, rows in expected.items():
        owner = "name" if table == "study" else "study"
        found = [row for row in evidence.tables[table] if row[owner] == study.name]
        if len(found) != len(rows):
            violations.append(f"{study.name}: table {table} holds {len(found)} rows, and its events make {len(rows)}")
        for wanted, row in zip(rows, found, strict=False):
            known = {key: row[key] for key in wanted}
            if known != wanted:
                violations.append(f"{study.name}: a row of table {table}: {_difference(wanted, known)}")
    return violations


def nobody_died_unasked(evidence: Round) -> list[str]:
    """Runners and proposer end before their time only where they are killed."""
    violations = []
    for row in evidence.rows:
        match row.event:
            case TrialFailed(trial=trial, attempt=attempt, message=message) if "runner ended unexpectedly" in message:
                if "kill_runner" not in evidence.struck:
                    violations.append(f"{_key(row.study, trial, attempt)}: {message}")
            case PointsSuggested(ask=ask, note=str(note)) if "process ended" in note:
                if "kill_proposer" not in evidence.struck:
                    violations.append(f"{row.study}, ask {ask}: {note}")
    return violations


def nothing_else_went_wrong(evidence: Round) -> list[str]:
    """No orphan, no unwanted end, no hurt stranger, no torn copy (seen on the way), and no traceback anywhere."""
    printed = [name for name, text in evidence.outputs.items() if "Traceback (most recent call last)" in text]
    return [*evidence.problems, *(f"{name} holds a traceback" for name in sorted(printed))]


def something_happened(evidence: Round) -> list[str]:
    """A round without any result proves nothing."""
    told = any(isinstance(row.event, TrialCompleted) for row in evidence.rows)
    return [] if told else ["no result was told in the whole round"]


def _key(study: str, trial: int, attempt: int) -> str:
    return f"{study}/{trial}/{attempt}"


CHECKERS: tuple[Checker, ...] = (
    no_device_had_two_trials,
    every_trial_ended_exactly_once,
    told_values_are_those_reported,
    no_trial_started_against_the_budget,
    retained_topics_are_the_journal,
    every_event_was_told,
    replay_gives_the_same_state,
    nobody_died_unasked,
    nothing_else_went_wrong,
    something_happened,
)


def violations_of(evidence: Round) -> list[str]:
    """All violations of a round, each with the name of its checker."""
    return [f"{checker.__name__}: {text}" for checker in CHECKERS for text in checker(evidence)]
