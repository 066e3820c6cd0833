"""The rules of DESIGN's failure table, one by one."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, mutated, torn

from cnnbo.daemon.executors.base import ExitEvidence
from cnnbo.daemon.verdict import Completed, Failed, explained, harvest, judge, read_evidence, read_result
from cnnbo.scheduler.trial import Failure

FINE = ExitEvidence(exit_code=0)


def failure_of(evidence: ExitEvidence, result: dict[str, Any] | None = None, pattern: bool = False) -> Failure:
    outcome = judge(evidence, result, pattern)
    assert isinstance(outcome, Failed)
    assert outcome.message
    return outcome.failure


@pytest.mark.parametrize(
    "evidence",
    [
        FINE,
        ExitEvidence(exit_code=1),
        ExitEvidence(signal=11),
        ExitEvidence(signal=9, stopped_by="timeout"),
        ExitEvidence(exit_code=0, stopped_by="request"),
        ExitEvidence(signal=9, stopped_by="lifeline"),
        ExitEvidence(stopped_by="runner"),
    ],
)
def test_a_valid_result_wins_over_every_end(evidence: ExitEvidence) -> None:
    """The training was done; how its processes went after that is no matter."""
    result = {"value": 0.93, "metrics": {"loss": 0.2, "bad": float("nan"), "text": "x"}}
    assert judge(evidence, result, pattern=False) == Completed(0.93, {"loss": 0.2})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), 10**400, -(10**400)],
    ids=["nan", "inf", "-inf", "huge", "-huge"],
)
def test_a_value_that_is_not_finite_is_divergence(value: float) -> None:
    """The optimizer must be told that this corner is bad, and can't be told NaN."""
    assert failure_of(FINE, {"value": value}) is Failure.DIVERGED


@pytest.mark.parametrize(
    "result", [{}, {"value": None}, {"value": True}, {"value": "0.9"}, {"values": 0.9}, {"failure": 1}]
)
def test_a_result_without_a_number_is_a_crash(result: dict[str, Any]) -> None:
    """A wrong key must show at once, not as a bad value."""
    outcome = judge(FINE, result, pattern=False)
    assert isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED
    assert '"value"' in outcome.message


@pytest.mark.parametrize(("said", "resumed"), [(True, True), (False, False), (None, False), ("yes", False), (1, False)])
def test_a_result_says_whether_it_went_on_from_a_checkpoint(said: object, resumed: bool) -> None:
    """Its seconds are then not those of the whole training; anything but a plain `true` says nothing."""
    assert judge(FINE, {"value": 0.5, "resumed": said}, pattern=False) == Completed(0.5, resumed=resumed)
    told = {"failure": "diverged", "message": "why", "resumed": said}
    assert judge(FINE, told, pattern=False) == Failed(Failure.DIVERGED, "why", resumed=resumed)


@pytest.mark.parametrize(
    ("said", "chance"),
    [(0.14, 0.14), (2, 2.0), (None, None), (float("nan"), None), (float("inf"), None), ("0.1", None), (True, None)],
)
def test_a_result_says_what_luck_explains(said: object, chance: float | None) -> None:
    """A value stands whatever is wrong with its bound: what was trained was trained."""
    assert judge(FINE, {"value": 0.5, "chance": said}, pattern=False) == Completed(0.5, chance=chance)
    assert judge(FINE, {"value": 0.5}, pattern=False) == Completed(0.5)


def test_a_result_without_a_number_excuses_no_stop() -> None:
    """Half a result at a reboot is still a reboot."""
    assert failure_of(ExitEvidence(stopped_by="lifeline"), {}) is Failure.INTERRUPTED


@pytest.mark.parametrize("claim", ["diverged", "out_of_memory", "crashed"])
def test_a_script_may_tell_its_own_failures(claim: str) -> None:
    """It knows best; what it measured before is kept."""
    outcome = judge(FINE, {"failure": claim, "message": "why", "metrics": {"acc": 0.19}}, pattern=False)
    assert outcome == Failed(Failure(claim), "why", {"acc": 0.19})


@pytest.mark.parametrize("claim", ["timeout", "device_lost", "interrupted", "bored", ""])
def test_a_script_can_not_tell_what_only_the_machine_knows(claim: str) -> None:
    """Claiming an interruption, a broken script would be retried and never be seen to be broken."""
    assert failure_of(FINE, {"failure": claim}) is Failure.CRASHED


def test_no_result_is_a_crash_that_says_what_to_do() -> None:
    """The commonest mistake of a new script."""
    outcome = judge(FINE, None, pattern=False)
    assert outcome == Failed(Failure.CRASHED, "The command ended well but left no result; write one to $CNNBO_RESULT.")


@pytest.mark.parametrize(
    ("stopped_by", "failure"),
    [
        ("timeout", Failure.TIMEOUT),
        ("memory", Failure.OUT_OF_MEMORY),
        ("spawn", Failure.CRASHED),
        ("request", Failure.INTERRUPTED),
        ("lifeline", Failure.INTERRUPTED),
        ("lease", Failure.INTERRUPTED),
        ("runner", Failure.INTERRUPTED),
        ("moonlight", Failure.INTERRUPTED),
    ],
)
@pytest.mark.parametrize("pattern", [True, False])
def test_what_cnnbo_did_explains_the_end(stopped_by: str, failure: Failure, pattern: bool) -> None:
    """Limits are the configuration's fault; a stop says nothing about it, even if a value was printed before."""
    evidence = ExitEvidence(exit_code=0, stopped_by=stopped_by, matches=1, value=0.5)
    assert failure_of(evidence, pattern=pattern) is failure


def test_the_evidence_speaks_for_itself() -> None:
    """It names the program, the limit, the lease: better than any general sentence."""
    outcome = judge(ExitEvidence(stopped_by="spawn", message="x: no such program."), None, pattern=False)
    assert outcome == Failed(Failure.CRASHED, "x: no such program.")


def test_a_foreign_sigkill_names_the_suspect() -> None:
    """The kernel kills without a word to the victim; users look in vain for a bug."""
    outcome = judge(ExitEvidence(signal=9), None, pattern=False)
    assert isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED
    assert "killed by signal 9 (SIGKILL); maybe the kernel's out-of-memory killer" in outcome.message


def test_a_sigkill_beside_a_kill_for_memory_is_out_of_memory() -> None:
    """The optimizer must learn to stay away from there, and no brake for crashes must stop the study."""
    assert failure_of(ExitEvidence(signal=9, oom_kills=1)) is Failure.OUT_OF_MEMORY
    assert failure_of(ExitEvidence(signal=9, oom_kills=1), pattern=True) is Failure.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "evidence",
    [
        ExitEvidence(signal=9, oom_kills=0),
        ExitEvidence(signal=9, oom_kills=None),
        ExitEvidence(signal=11, oom_kills=1),
        ExitEvidence(exit_code=1, oom_kills=1),
    ],
)
def test_memory_is_not_blamed_without_both_signs(evidence: ExitEvidence) -> None:
    """A neighbour's kill raises the count of a shared cgroup as well."""
    assert failure_of(evidence) is Failure.CRASHED


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (40, "a real-time signal")])
def test_other_signals_are_named(number: int, name: str) -> None:
    """Not everybody knows them by number."""
    outcome = judge(ExitEvidence(signal=number), None, pattern=False)
    assert isinstance(outcome, Failed)
    assert name in outcome.message and "memory" not in outcome.message


def test_equal_crashes_have_equal_messages() -> None:
    """Three equal ones in a row pause the study; a duration in the text would make them differ."""
    first, second = (judge(ExitEvidence(exit_code=1, elapsed_s=s), None, pattern=False) for s in (3.1, 3.2))
    assert first == second


def test_with_a_pattern_the_output_tells() -> None:
    """Scripts that nobody may edit."""
    assert judge(ExitEvidence(exit_code=0, matches=3, value=0.8), None, pattern=True) == Completed(0.8)
    assert failure_of(ExitEvidence(exit_code=1, matches=3, value=0.8), pattern=True) is Failure.CRASHED
    assert failure_of(ExitEvidence(exit_code=0), pattern=True) is Failure.CRASHED
    assert failure_of(ExitEvidence(exit_code=0, matches=1, value=float("nan")), pattern=True) is Failure.DIVERGED


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_result_is_read(tmp_path: Path) -> None:
    """As a script writes it."""
    (tmp_path / "result.json").write_text('{"value": 0.5}')
    assert read_result(tmp_path) == {"value": 0.5}


def test_no_result_is_not_worth_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Crashes are common."""
    assert read_result(tmp_path) is None
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b'{"value": 0.', b"\xff\x00", b"[0.9]", b"[" * 100_000, b"0" * (2 << 20)])
def test_a_result_that_can_not_be_read_is_none_and_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """Torn, garbage, or the whole data set: the daemon lives on."""
    (tmp_path / "result.json").write_bytes(content)
    assert read_result(tmp_path) is None
    assert str(tmp_path / "result.json") in caplog.text


def test_neither_a_pipe_nor_a_folder_holds_the_daemon_up(tmp_path: Path) -> None:
    """Opening a pipe waits for its writer."""
    os.mkfifo(tmp_path / "result.json")
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").unlink()
    (tmp_path / "result.json").mkdir()
    assert read_result(tmp_path) is None


@pytest.mark.parametrize("value", [None, 0.5, float("nan"), float("inf"), float("-inf")])
def test_evidence_survives_the_file(tmp_path: Path, value: float | None) -> None:
    """NaN too, for which JSON has no number."""
    evidence = ExitEvidence(exit_code=3, message="why", elapsed_s=1.5, matches=1, value=value)
    text = json.dumps(evidence.to_dict(), allow_nan=False)
    (tmp_path / "exit.json").write_text(text)
    assert repr(read_evidence(tmp_path)) == repr(evidence)


@pytest.mark.parametrize("content", ["{", "[]", '{"value": "much"}', '{"value": {}}'])
def test_evidence_that_is_none_is_none(tmp_path: Path, content: str) -> None:
    """Then the attempt was interrupted, as far as anybody knows."""
    (tmp_path / "exit.json").write_text(content)
    assert read_evidence(tmp_path) is None


def test_evidence_of_a_later_version_is_understood(tmp_path: Path) -> None:
    """Keys are only ever added."""
    (tmp_path / "exit.json").write_text('{"exit_code": 2, "mood": "bad"}')
    assert read_evidence(tmp_path) == ExitEvidence(exit_code=2)


def test_a_trial_that_finished_while_the_daemon_was_dead_is_harvested(tmp_path: Path) -> None:
    """Hours of training are not repeated for want of a reader; evidence isn't even needed."""
    (tmp_path / "result.json").write_text('{"value": 0.5}')
    assert harvest(tmp_path, pattern=False) == Completed(0.5)
    (tmp_path / "exit.json").write_text('{"signal": 9, "stopped_by": "lifeline"}')
    assert harvest(tmp_path, pattern=False) == Completed(0.5)


def test_a_crash_nobody_heard_of_is_harvested_too(tmp_path: Path) -> None:
    """It ended by itself just before the daemon did: running it again would crash again."""
    (tmp_path / "exit.json").write_text('{"exit_code": 1}')
    outcome = harvest(tmp_path, pattern=False)
    assert isinstance(outcome, Failed) and outcome.failure is Failure.CRASHED


def test_a_printed_value_is_harvested(tmp_path: Path) -> None:
    """With a pattern the evidence holds the value."""
    (tmp_path / "exit.json").write_text('{"exit_code": 0, "matches": 1, "value": 0.5}')
    assert harvest(tmp_path, pattern=True) == Completed(0.5)


@pytest.mark.parametrize("evidence", [None, '{"signal": 9, "stopped_by": "lifeline"}', '{"stopped_by": "lease"}'])
def test_nothing_to_go_by_is_nothing_to_harvest(tmp_path: Path, evidence: str | None) -> None:
    """Then it was interrupted, and is retried."""
    if evidence is not None:
        (tmp_path / "exit.json").write_text(evidence)
    assert harvest(tmp_path, pattern=False) is None


RESULTS: list[dict[str, Any]] = [
    {"value": 0.93, "chance": 0.14, "metrics": {"loss": 0.1, "epoch": 3}},
    {"failure": "diverged", "message": "The loss is NaN.", "metrics": {"loss": 0.1}},
]
EVIDENCE = ExitEvidence(1, None, "spawn", "No such file.", 1.5, 20.0, 2, matches=2, value=0.5).to_dict()


def _scraps(*documents: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """A file that a script was to write, right, almost right, or torn."""
    texts = st.sampled_from(documents).flatmap(lambda document: mutated(document) | st.just(document)).map(json.dumps)
    return texts.map(str.encode) | st.sampled_from([json.dumps(d).encode() for d in documents]).flatmap(torn)


@example(result=b'{"failure": "\\ud800", "message": "\\ud800"}', evidence=b"{}", pattern=False)  # ended the daemon
@example(result=b'{"failure": "crashed", "message": [[1]]}', evidence=b"{}", pattern=False)
@example(result=b"{}", evidence=b'{"stopped_by": "timeout", "message": [1]}', pattern=False)  # ended the daemon
@example(result=b"{}", evidence=b'{"exit_code": 0, "value": 1%s}' % (b"0" * 400), pattern=True)  # OverflowError
@example(result=b"{}", evidence=b'{"exit_code": 0, "value": true}', pattern=True)  # was taken for 1.0
@example(result=DEEP, evidence=DEEP, pattern=False)
@given(result=_scraps(*RESULTS), evidence=_scraps(EVIDENCE), pattern=st.booleans())
def test_whatever_a_trial_leaves_comes_to_something_that_can_be_kept(
    result: bytes, evidence: bytes, pattern: bool
) -> None:
    """A script may write anything into its folder; the daemon finds it at its start, at every one."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "result.json").write_bytes(result)
        (directory / "exit.json").write_bytes(evidence)
        outcome = harvest(directory, pattern)
    if isinstance(outcome, Completed):
        assert type(outcome.value) is float and math.isfinite(outcome.value)
        assert outcome.chance is None or (type(outcome.chance) is float and math.isfinite(outcome.chance))
    elif isinstance(outcome, Failed):
        assert outcome.message.isprintable() and len(outcome.message) <= 500
    if outcome is not None:
        assert len(outcome.metrics) <= 64
        assert all(name.isprintable() and math.isfinite(number) for name, number in outcome.metrics.items())


def test_more_metrics_than_a_topic_holds_are_cut() -> None:
    """A megabyte of them would be refused by the broker, which hangs up on whoever sends it, again and again."""
    outcome = judge(FINE, {"value": 1.0, "metrics": {f"m{n}": n for n in range(10_000)} | {"x" * 200: 1}}, False)
    assert len(outcome.metrics) == 64


@pytest.mark.parametrize(
    ("lines", "failure", "message"),
    [
        ([], "crashed", "It ended with exit status 1."),
        (["Traceback", "ValueError: no", "", "  "], "crashed", "It ended with exit status 1: ValueError: no"),
        (["W: memory is short", "RuntimeError: MemoryError in the cache"], "crashed", None),
        (["MemoryError"], "out_of_memory", "The training code ran out of memory: MemoryError"),
        (["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "bye"], "out_of_memory", None),
        (
            [
                "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:",
                "",
                "Detected at",
            ],
            "out_of_memory",
            None,
        ),
        (["terminate called after throwing an instance of 'std::bad_alloc'"], "out_of_memory", None),
    ],
)
def test_a_crash_is_explained_by_the_last_lines_of_its_output(
    lines: list[str], failure: str, message: str | None
) -> None:
    """A batch too large for the device is the configuration's fault in anybody's script, not only in ours."""
    told = explained(Failed(Failure.CRASHED, "It ended with exit status 1."), lines)
    assert told.failure == failure
    assert message is None or told.message == message
