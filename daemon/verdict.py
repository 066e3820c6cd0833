"""What an attempt came to: from the evidence of its end and the result it left, one outcome.

The rules, in order:

1. a valid result file wins, however the processes ended: the training was done;
2. what cnnbo itself did to the attempt explains its end: limits are the configuration's fault, a stop is nobody's;
3. a SIGKILL that wasn't ours, while the kernel's out-of-memory killer was at work in our cgroup, was that killer's;
4. with a pattern, the value is what the pattern found, and a non-zero exit status is a crash;
5. everything else is a crash.

A verdict never says `device_lost`: only the devices' backend knows that.
"""

import json
import logging
import math
import os
import re
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cnnbo.daemon.executors.base import ExitEvidence
from cnnbo.daemon.logfiles import clean
from cnnbo.daemon.streams import read_metrics
from cnnbo.models.report import TEST_SET_MARK
from cnnbo.scheduler.trial import Failure

logger = logging.getLogger(__name__)

_FILE_LIMIT = 1 << 20
_MESSAGE_LIMIT = 500
_WORDS_LIMIT = 200
# As Python prints the error at the end of a traceback: TensorFlow's, PyTorch's and its own; C++ in its own way.
_MEMORY_ERROR = re.compile(r"([\w.]+\.)?(ResourceExhaustedError|OutOfMemoryError|MemoryError)\b|.*\bstd::bad_alloc\b")
_CLAIMABLE = (Failure.DIVERGED, Failure.OUT_OF_MEMORY, Failure.CRASHED)  # the others are not a script's to know


@dataclass(frozen=True, slots=True)
class Completed:
    """The attempt yielded a value.

    Attributes:
        value: the metric as reported, finite, in the user's direction.
        metrics: whatever else was reported, finite.
        resumed: whether it went on from a checkpoint, as its result says.
        chance: the best value that luck explains, finite, as its result says; None if it doesn't.
    """

    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    resumed: bool = False
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt yielded no value.

    Attributes:
        failure: why.
        message: a sentence for the user; by `crash_kind` of it, crashes are equal.
        metrics: whatever was reported nevertheless, finite.
        resumed: whether it went on from a checkpoint, as its result says; without a result nobody knows.
    """

    failure: Failure
    message: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    resumed: bool = False


Outcome = Completed | Failed


def judge(evidence: ExitEvidence, result: Mapping[str, Any] | None, pattern: bool) -> Outcome:
    """Decide what an attempt came to.

    Args:
        evidence: how its processes ended.
        result: content of its result file, None if it left none that can be read.
        pattern: whether the study finds the value in the output.
    """
    outcome = _judge(evidence, result, pattern)
    return replace(outcome, message=_sentence(outcome.message)) if isinstance(outcome, Failed) else outcome


def _judge(evidence: ExitEvidence, result: Mapping[str, Any] | None, pattern: bool) -> Outcome:
    if result is not None and (outcome := _judge_result(result)):
        return replace(outcome, resumed=result.get("resumed") is True)
    if outcome := _judge_stop(evidence):
        return outcome
    if evidence.signal == signal.SIGKILL and evidence.oom_kills:
        return Failed(Failure.OUT_OF_MEMORY, "The kernel's out-of-memory killer ended the command (SIGKILL).")
    if evidence.exit_code != 0:
        return Failed(Failure.CRASHED, _how_it_ended(evidence))
    if pattern:
        return _judge_match(evidence)
    if result is not None:
        return Failed(Failure.CRASHED, 'result.json holds neither a number under "value" nor a failure.')
    return Failed(Failure.CRASHED, "The command ended well but left no result; write one to $CNNBO_RESULT.")


def explained(crash: Failed, lines: Sequence[str]) -> Failed:
    """A crash in the words of its own output: what the error was, and whether it was memory that ran out.

    The error itself tells equal crashes from different ones, and people what to mend.

    Args:
        crash: an end as `crashed`.
        lines: the last lines of the output, oldest first.
    """
    for line in reversed(lines):
        if _MEMORY_ERROR.match(line):
            message = f"The training code ran out of memory: {line.strip()}"
            return replace(crash, failure=Failure.OUT_OF_MEMORY, message=_sentence(message))
    words = next((line.strip()[:_WORDS_LIMIT] for line in reversed(lines) if line.strip()), "")
    return replace(crash, message=_sentence(f"{crash.message.rstrip('.')}: {words}")) if words else crash


def _judge_result(result: Mapping[str, Any]) -> Outcome | None:
    """The outcome a result file tells of, or None if it tells nothing."""
    metrics = read_metrics(result.get("metrics"))
    claimed = result.get("failure")
    if isinstance(claimed, str):
        failure = Failure(claimed) if claimed in _CLAIMABLE else Failure.CRASHED
        message = result.get("message")
        told = isinstance(message, str) and message
        return Failed(failure, told or f"The training code reported {claimed}.", metrics)
    value = _number(result.get("value"))
    return None if value is None else _judge_value(value, metrics, _finite_number(result.get("chance")))


def _sentence(message: str) -> str:
    """Somebody else's words on one line, without what a terminal obeys or SQLite refuses (half a surrogate pair)."""
    return clean(" ".join(message.split()).encode(errors="replace"))[:_MESSAGE_LIMIT]


def _judge_value(value: float, metrics: Mapping[str, float], chance: float | None = None) -> Outcome:
    if math.isfinite(value):
        return Completed(value, metrics, chance=chance)
    return Failed(Failure.DIVERGED, f"The value came out as {value}.", metrics)


def _judge_stop(evidence: ExitEvidence) -> Failed | None:
    """The outcome of an attempt that cnnbo ended or could not start, None if it ended by itself."""
    match evidence.stopped_by:
        case None:
            return None
        case "timeout":
            return Failed(Failure.TIMEOUT, evidence.message or "The trial took longer than its timeout.")
        case "memory":
            return Failed(Failure.OUT_OF_MEMORY, evidence.message or "The trial used more host memory than its limit.")
        case "spawn":
            return Failed(Failure.CRASHED, evidence.message or "The command could not be started.")
        case "request":
            return Failed(Failure.INTERRUPTED, evidence.message or "The trial was asked to stop.")
        case "lifeline":
            return Failed(Failure.INTERRUPTED, evidence.message or "The daemon ended while the trial was running.")
        case other:  # the lease, the runner, whatever a later runner may name: nothing that the configuration did
            return Failed(Failure.INTERRUPTED, evidence.message or f"The attempt was lost ({other}).")


def _judge_match(evidence: ExitEvidence) -> Outcome:
    if evidence.value is None:
        remedy = evidence.message or "compare report.pattern with the log."
        return Failed(
            Failure.CRASHED, f"The command ended well, but the pattern found no value in its output; {remedy}"
        )
    return _judge_value(evidence.value, {})


def _how_it_ended(evidence: ExitEvidence) -> str:
    if evidence.signal is None:
        return f"The command ended with exit status {evidence.exit_code}."
    try:
        name = signal.Signals(evidence.signal).name
    except ValueError:  # a real-time signal has no name
        name = "a real-time signal"
    suspect = "; maybe the kernel's out-of-memory killer" if evidence.signal == signal.SIGKILL else ""
    return f"The command was killed by signal {evidence.signal} ({name}){suspect}."


def _number(value: object) -> float | None:
    """A JSON number as a float, maybe NaN or infinite; None for anything else, `true` included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond any float
        return math.inf if value > 0 else -math.inf


def _finite_number(value: object) -> float | None:
    """A JSON number as a float; None for anything else, NaN and infinities included."""
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def read_result(directory: Path) -> dict[str, Any] | None:
    """The result file of an attempt; None if there is none, or none that can be used, which is logged."""
    return _read_object(directory / "result.json")


def read_evidence(directory: Path) -> ExitEvidence | None:
    """The exit evidence a runner left in the folder of an attempt; None if it left none."""
    data = _read_object(directory / "exit.json")
    try:
        return None if data is None else ExitEvidence.from_dict(data)
    except ValueError as error:
        logger.warning("%s: not understood (%s); ignored.", directory / "exit.json", error)
        return None


def has_opened_test_set(directory: Path) -> bool:
    """Whether an attempt noted in its folder that it opens the test set."""
    try:
        return (directory / TEST_SET_MARK).exists()
    except OSError:  # its folder was taken from under it; then it has no result to believe either
        return False


def harvest(directory: Path, pattern: bool) -> Outcome | None:
    """The outcome of an attempt of an earlier life of the daemon, from what it left in its folder.

    Returns:
        None if it left nothing to go by: then it was interrupted.
    """
    evidence = read_evidence(directory)
    # Without evidence only a valid result counts; "request" stands for an end nobody knows anything about.
    outcome = judge(evidence or ExitEvidence(stopped_by="request"), read_result(directory), pattern)
    return None if isinstance(outcome, Failed) and outcome.failure is Failure.INTERRUPTED else outcome


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(_read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s: not readable (%s); ignored.", path, error)
        return None
    if not isinstance(data, dict):
        logger.warning("%s: holds no JSON object; ignored.", path)
        return None
    return data


def _read_regular(path: Path) -> bytes:
    """Read a file that a user's script made: neither a pipe nor gigabytes may hold the daemon up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(_FILE_LIMIT + 1)
    if len(content) > _FILE_LIMIT:
        raise ValueError(f"it is larger than {_FILE_LIMIT >> 20} MiB")
    return content
