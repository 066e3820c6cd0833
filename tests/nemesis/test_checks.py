"""Each checker passes a sound round, and catches a round doctored to break its one rule."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.nemesis import checks
from tests.nemesis.evidence import AttemptFiles, Round, Row

from cnnbo.scheduler.events import (
    BudgetReached,
    Event,
    PointsSuggested,
    StudyCreated,
    TimeSpent,
    TrialCompleted,
    TrialFailed,
    TrialStarted,
)
from cnnbo.scheduler.optimizers.base import Source
from cnnbo.scheduler.trial import Failure

_START_OF_3 = 11  # place of TrialStarted(6.0, 3, 1, "GPU-1") among the rows


def _with_rows(evidence: Round, change: Callable[[list[Event]], Sequence[Event]]) -> Round:
    events = change([row.event for row in evidence.rows])
    return replace(evidence, rows=tuple(Row(seq, "alpha", event) for seq, event in enumerate(events, start=1)))


def _inserted(evidence: Round, place: int, *events: Event) -> Round:
    return _with_rows(evidence, lambda rows: [*rows[:place], *events, *rows[place:]])


@pytest.mark.parametrize("checker", checks.CHECKERS, ids=lambda checker: str(checker.__name__))
def test_a_sound_round_has_no_violation(sound: Round, checker: checks.Checker) -> None:
    """A checker that cries wolf is switched off."""
    assert checker(sound) == []


def test_violations_name_their_checker(sound: Round) -> None:
    """Whoever reads a failure begins at the rule that was broken."""
    assert checks.violations_of(sound) == []
    [violation] = checks.violations_of(replace(sound, problems=("a stranger was hurt",)))
    assert violation == "nothing_else_went_wrong: a stranger was hurt"


class TestDevices:
    def test_two_trials_on_one_device_by_the_journal(self, sound: Round) -> None:
        """The third trial starts where the second still runs."""
        doctored = _inserted(sound, 8, TrialStarted(4.5, 3, 1, "GPU-0"))
        assert "alpha/3/1 started on GPU-0, which alpha/2/2 held" in checks.no_device_had_two_trials(doctored)[0]

    def test_an_attempt_that_never_ended_holds_its_device(self, sound: Round) -> None:
        """A lost end must not free the device."""
        doctored = _with_rows(sound, lambda rows: [row for row in rows if not _ends(row, 1, 1)])
        assert "alpha/2/2 started on GPU-0, which alpha/1/1 held" in checks.no_device_had_two_trials(doctored)[0]

    def test_two_trials_on_one_device_by_their_own_account(self, sound: Round) -> None:
        """What trials saw of each other counts, whatever the journal says."""
        assert checks.no_device_had_two_trials(replace(sound, doubles=("alpha-1-1: GPU-0 was held",)))


def _ends(event: Event, trial: int, attempt: int) -> bool:
    return isinstance(event, TrialCompleted | TrialFailed) and (event.trial, event.attempt) == (trial, attempt)


class TestEnds:
    def test_an_attempt_that_ends_twice(self, sound: Round) -> None:
        """Told twice, a result would count twice."""
        doctored = _inserted(sound, 6, TrialCompleted(3.1, 1, 1, 0.5))
        assert "alpha/1: attempt 1 ended, though attempt 1 was the newest and over" in (
            checks.every_trial_ended_exactly_once(doctored)
        )

    def test_an_attempt_that_never_ends(self, sound: Round) -> None:
        """A lost end is a lost result."""
        doctored = _with_rows(sound, lambda rows: [row for row in rows if not _ends(row, 3, 1)])
        assert checks.every_trial_ended_exactly_once(doctored) == ["alpha/3: attempt 1 never ended"]

    def test_a_gap_in_the_numbers(self, sound: Round) -> None:
        """An attempt that nobody journalled."""
        doctored = _with_rows(sound, lambda rows: [_as_third(event) for event in rows])
        assert "alpha/2: attempt 3 followed attempt 1" in checks.every_trial_ended_exactly_once(doctored)

    def test_two_attempts_at_once(self, sound: Round) -> None:
        """A trial runs once at a time."""
        doctored = _inserted(sound, 4, TrialStarted(2.5, 1, 2, "GPU-2"))
        assert "alpha/1: attempt 2 started while attempt 1 ran" in checks.every_trial_ended_exactly_once(doctored)

    def test_a_trial_left_when_its_study_has_ended(self, sound: Round) -> None:
        """Whoever sees the study finished takes it that nothing runs any more."""
        tables = copy.deepcopy(dict(sound.tables))
        tables["trial"][2]["state"] = "pending"  # type: ignore[index]
        left = ["alpha/3: is pending though its study has ended"]
        assert checks.every_trial_ended_exactly_once(replace(sound, tables=tables)) == left
        tables["study"][0]["reason"] = "budget"  # type: ignore[index]
        assert checks.every_trial_ended_exactly_once(replace(sound, tables=tables)) == []


def _as_third(event: Event) -> Event:
    """The second attempt of the second trial as its third one."""
    if isinstance(event, TrialStarted | TrialCompleted | TrialFailed) and (event.trial, event.attempt) == (2, 2):
        return replace(event, attempt=3)
    return event


class TestValues:
    def _with_files(self, sound: Round, files: AttemptFiles) -> list[str]:
        return checks.told_values_are_those_reported(replace(sound, files={**sound.files, ("alpha", 1, 1): files}))

    @pytest.mark.parametrize(
        "text", ['{"value": 0.6}', '{"value": 0.5', "", '{"failure": "diverged"}', '{"value": NaN}']
    )
    def test_a_told_value_that_the_file_does_not_hold(self, sound: Round, text: str) -> None:
        """Another value, half a file, an empty one, a failure, no number."""
        assert "alpha/1/1: told 0.5, reported" in self._with_files(sound, AttemptFiles(result=text))[0]

    def test_a_result_that_was_never_told(self, sound: Round) -> None:
        """A finished training that was thrown away."""
        files = {**sound.files, ("alpha", 3, 1): AttemptFiles(result='{"value": 1}')}
        violations = checks.told_values_are_those_reported(replace(sound, files=files))
        assert violations == ["alpha/3/1: told None, reported 1.0"]

    def test_files_of_an_attempt_that_the_journal_does_not_know(self, sound: Round) -> None:
        """Something ran that was never journalled."""
        files = {**sound.files, ("alpha", 4, 1): AttemptFiles()}
        assert checks.told_values_are_those_reported(replace(sound, files=files)) == [
            "alpha/4/1: left files, but its end is not journalled"
        ]

    @pytest.mark.parametrize(
        ("log", "ended", "violations"),
        [
            ("val: 0.1\nval: 0.5\n", '{"exit_code": 0}', 0),
            ("val: 0.5\nval: 0.1\n", '{"exit_code": 0}', 1),
            ("val: 0.5\n", '{"exit_code": 1}', 1),
            ("val: 0.5\n", '{"exit_code": 0, "stopped_by": "request"}', 1),
            ("val: 0.5\n", None, 1),
            ("val: nan\n", '{"exit_code": 0}', 1),
            ("", '{"exit_code": 0}', 1),
        ],
    )
    def test_a_value_found_in_the_output(self, sound: Round, log: str, ended: str | None, violations: int) -> None:
        """With a pattern the last match of a command that ended well counts."""
        doctored = replace(
            sound,
            rows=tuple(row for row in sound.rows if getattr(row.event, "trial", 1) == 1),
            files={("alpha", 1, 1): AttemptFiles(exit=ended, log=log)},
            patterns={"alpha": "val: ([0-9.]+|nan)"},
        )
        assert len(checks.told_values_are_those_reported(doctored)) == violations


class TestBudget:
    def _violations(self, doctored: Round) -> list[str]:
        return checks.no_trial_started_against_the_budget(doctored)

    def test_a_start_that_costs_too_much(self, sound: Round) -> None:
        """Three attempts of a second are spent, the median is one: with six seconds more, a third trial just fits."""
        assert self._violations(_slower(sound, 5.9)) == []
        assert "alpha/3/1 started against the budget" in self._violations(_slower(sound, 6.1))[0]

    def test_running_trials_count(self, sound: Round) -> None:
        """What a running trial has cost so far is spent."""
        doctored = _inserted(sound, _START_OF_3, TrialStarted(-1.5, 4, 1, "GPU-2"))
        assert "alpha/3/1 started against the budget" in self._violations(doctored)[0]

    def test_a_start_after_the_budget_was_reached(self, sound: Round) -> None:
        """Once reached, a limit holds until a new budget is given."""
        doctored = _inserted(sound, _START_OF_3, BudgetReached(5.0, "cost"))
        assert "cost was reached" in self._violations(doctored)[0]

    def test_time_on_the_clock(self, sound: Round) -> None:
        """One more median must fit."""
        created = sound.rows[0].event
        assert isinstance(created, StudyCreated)
        spec = replace(created.spec, budget=replace(created.spec.budget, wall_clock_s=10.0))
        limited = _with_rows(sound, lambda rows: [replace(created, spec=spec), *rows[1:]])
        assert self._violations(_inserted(limited, _START_OF_3, TimeSpent(5.0, 8.5))) == []
        assert self._violations(_inserted(limited, _START_OF_3, TimeSpent(5.0, 9.5)))


def _slower(evidence: Round, seconds: float) -> Round:
    """The round with a second trial whose second attempt took so many seconds more."""

    def change(events: list[Event]) -> list[Event]:
        return [replace(event, at=event.at + seconds) if _ends(event, 2, 2) else event for event in events]

    return _with_rows(evidence, change)


class TestTopics:
    @pytest.mark.parametrize(
        ("topic", "body"),
        [
            ("study/alpha", None),
            ("study/alpha/trial/2", {"id": 2}),
            ("device/GPU-0", {"uuid": "GPU-0", "state": "busy"}),
            ("availability", "offline"),
            ("study/ghost", {"name": "ghost"}),
        ],
    )
    def test_a_topic_that_tells_something_else(self, sound: Round, topic: str, body: Any) -> None:
        """Missing, outdated, or of something that doesn't exist."""
        retained = {**sound.retained, topic: body}
        if body is None:
            del retained[topic]
        [violation] = checks.retained_topics_are_the_journal(replace(sound, retained=retained))
        assert violation.startswith(topic)

    def test_a_box_that_is_gone_and_still_online(self, sound: Round) -> None:
        """After an orderly stop subscribers must know."""
        assert checks.retained_topics_are_the_journal(replace(sound, farewell="online"))


def test_an_event_that_nobody_was_told(sound: Round) -> None:
    """What waits when the broker is there and the daemon has stopped in order was forgotten."""
    assert checks.every_event_was_told(replace(sound, untold=1))


class TestReplay:
    def test_events_that_contradict_each_other(self, sound: Round) -> None:
        """A journal that can't be replayed is lost."""
        doctored = _inserted(sound, 5, TrialFailed(3.0, 1, 9, Failure.CRASHED))
        assert "can't be replayed" in checks.replay_gives_the_same_state(doctored)[0]

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [("study", "finished", 2), ("trial", "value", 0.1), ("attempt", "device", "GPU-7")],
    )
    def test_a_table_that_says_something_else(self, sound: Round, table: str, column: str, value: object) -> None:
        """People query the tables and take them for the truth."""
        tables = copy.deepcopy(dict(sound.tables))
        tables[table][0][column] = value  # type: ignore[index]
        [violation] = checks.replay_gives_the_same_state(replace(sound, tables=tables))
        assert f"a row of table {table}: {column} is" in violation

    def test_a_missing_row(self, sound: Round) -> None:
        """A trial that no query finds."""
        tables = {**sound.tables, "trial": sound.tables["trial"][1:]}
        assert (
            "holds 2 rows, and its events make 3"
            in checks.replay_gives_the_same_state(replace(sound, tables=tables))[0]
        )

    def test_a_daemon_that_showed_something_else(self, sound: Round) -> None:
        """What was in memory and what was journalled must be the same."""
        shown = {"alpha": {**sound.shown["alpha"], "finished": 2}}
        assert "finished is 2 instead of 3" in checks.replay_gives_the_same_state(replace(sound, shown=shown))[0]


@pytest.mark.parametrize(
    ("death", "killer"),
    [
        (TrialFailed(3.0, 2, 1, Failure.INTERRUPTED, "The trial runner ended unexpectedly (status 1)."), "kill_runner"),
        (PointsSuggested(3.0, 2, (), Source.SOBOL, note="the proposer process ended (SIGABRT)"), "kill_proposer"),
    ],
)
def test_a_death_that_nobody_caused(sound: Round, death: Event, killer: str) -> None:
    """The study goes on without, so nothing else would tell."""
    doctored = _inserted(sound, 6, death)
    assert "ended" in checks.nobody_died_unasked(doctored)[0]
    assert checks.nobody_died_unasked(replace(doctored, struck=frozenset({killer}))) == []


def test_a_traceback_anywhere(sound: Round) -> None:
    """Even one that nothing followed from."""
    outputs = {"daemon-1": "ERROR x\nTraceback (most recent call last):\n", "cli-1": "fine"}
    assert checks.nothing_else_went_wrong(replace(sound, outputs=outputs)) == ["daemon-1 holds a traceback"]


def test_a_round_in_which_nothing_was_told(sound: Round) -> None:
    """It would pass every other checker."""
    doctored = _with_rows(sound, lambda rows: [row for row in rows if not isinstance(row, TrialCompleted)])
    assert checks.something_happened(doctored)
