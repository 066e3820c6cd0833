"""What requests do to a shell, and for whom."""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.daemon.test_shell import SPEC, Scene, scene

from cnnbo.daemon.api import requests
from cnnbo.daemon.api.requests import Request
from cnnbo.daemon.handler import Handler, response
from cnnbo.daemon.journal import Journal, Receipt
from cnnbo.daemon.submitted import Peer
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.errors import ConfigurationError, RequestError
from cnnbo.scheduler.events import TimeSpent
from cnnbo.scheduler.spec import Budget, Origin

ME = Peer("me", may_run_commands=True)
BOB = Peer("bob", may_run_commands=False)
RECEIPT = Receipt("limit", '"t"', "digest")
THEIRS = Origin("/tmp", {"LD_PRELOAD": "/tmp/evil.so", "CNNBO_X": "1"}, "/tmp/python", "root")
MODEL = replace(SPEC, command=(), model="svhn-cnn", name="m", metric="val_accuracy", origin=THEIRS)


class Desk:
    """A handler over a shell at work."""

    def __init__(self, at: Scene) -> None:
        self.at = at
        self.handler = Handler(at.shell, lambda: {"daemon": None, "mqtt": None}, iter(range(10**6, 10**7)).__next__)

    async def ask(self, request: Request, peer: Peer = ME, receipt: Receipt | None = None) -> Any:
        return await self.handler.handle(request, peer, receipt)

    def devices(self) -> list[tuple[object, object]]:
        return [(device["state"], device["reason"]) for device in self.at.shell.device_objects()]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with scene(tmp_path) as at:
        yield Desk(at)


def submission(**changes: Any) -> Request:
    return requests.SubmitSpec(spec=encode_value(replace(SPEC, **changes)))


async def receipts(state: Path) -> list[Receipt]:
    """What a daemon that starts now would know as carried out."""
    journal = Journal(state)
    await journal.open()
    try:
        return await journal.receipts()
    finally:
        await journal.close()


async def test_a_study_is_limited_to_fewer_devices_and_freed_again(desk: Desk) -> None:
    """A study of one's own takes half of the box while a colleague is in a hurry."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(submission(max_devices=2))
    await desk.ask(requests.Limit(study="s", devices=1))
    assert desk.at.study.spec.max_devices == 1
    with pytest.raises(RequestError, match="cnnbo pause s"):
        await desk.ask(requests.Limit(study="s", devices=0))
    await desk.ask(requests.Limit(study="s", devices=None))
    assert desk.at.study.spec.max_devices is None
    with pytest.raises(RequestError, match="there is no study 'x'"):
        await desk.ask(requests.Limit(study="x", devices=1))


async def test_the_limit_of_the_box_survives_a_restart_and_says_why_nothing_starts(tmp_path: Path) -> None:
    """The price of power doesn't fall because the daemon was restarted."""
    async with scene(tmp_path) as at:
        assert await Desk(at).ask(requests.Limit(devices=0), BOB) == {"limit": 0}
    async with scene(tmp_path) as at:
        desk = Desk(at)
        await desk.ask(submission())
        why = "no device may be used (limited by bob); lift that: cnnbo limit none"
        assert desk.devices() == [("idle", why), ("idle", why)]
        assert (await desk.ask(requests.Status()))["limit"] == 0
        await desk.ask(requests.Limit(devices=1))
        await at.executor.started("s/1/1")
        assert list(at.executor.running) == ["s/1/1"]
        assert desk.devices()[1] == ("idle", None)  # it may be the next one
        await desk.ask(requests.Limit(devices=None))
        await at.executor.started("s/2/1")


async def test_the_best_is_told_once_there_is_one(desk: Desk) -> None:
    """Before that, the sentence of `cnnbo best` is the answer."""
    await desk.ask(submission())
    with pytest.raises(RequestError, match="no completed trial yet; see its trials: cnnbo trials s"):
        await desk.ask(requests.Best(study="s"))
    await desk.at.end(1, 1, 0.5)
    assert await desk.ask(requests.Best(study="s")) == {"trial": 1, "value": 0.5, "configuration": {"x": 0.1}}


async def test_who_may_not_run_commands_chooses_nothing_that_runs_code(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LD_PRELOAD, or an interpreter of theirs, would run whatever they like as the daemon's user."""
    monkeypatch.setenv("CNNBO_MQTT_URL", "mqtt://cnnbo:secret@broker")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    await desk.ask(requests.Limit(devices=0))
    with pytest.raises(RequestError, match="taken from that user or root only, not from bob"):
        await desk.ask(submission(), BOB)
    await desk.ask(requests.SubmitSpec(spec=encode_value(MODEL)), BOB)
    origin = desk.at.shell.study("m").spec.origin
    assert (origin.cwd, origin.python, origin.owner) == (str(Path.cwd()), sys.executable, "bob")
    assert origin.environment["PATH"] == os.environ["PATH"]
    assert not {"LD_PRELOAD", "CNNBO_X", "CNNBO_MQTT_URL", "NOTIFY_SOCKET"} & set(origin.environment)


async def test_the_daemons_own_user_chooses_where_trials_run(desk: Desk) -> None:
    """On one's own box the caller's environment is the point."""
    await desk.ask(requests.Limit(devices=0))
    await desk.ask(requests.SubmitSpec(spec=encode_value(MODEL)), ME)
    assert desk.at.shell.study("m").spec.origin == replace(THEIRS, owner="me")


async def test_a_study_from_another_box_is_read_like_a_study_file(desk: Desk, tmp_path: Path) -> None:
    """Every mistake at once, in the file's own words; and a command would be somebody else's code."""
    await desk.ask(requests.Limit(devices=0))
    wrong = {"name": "digits", "model": "svhn-cnn", "evalutions": 3, "seed": -1, "data": {"dir": "digits"}}
    with pytest.raises(ConfigurationError) as caught:
        await desk.ask(requests.Submit(study=wrong), BOB)
    assert sorted(caught.value.problems) == [
        'study: "evalutions" is no key of a study file; did you mean "evaluations"?',
        'study: data.dir: must be a whole path on the box, like "/data/digits", not "digits".',
        "study: seed: must be at least 0, not -1.",
    ]
    with pytest.raises(ConfigurationError, match="study: seed: must not be null; leave it out, or write a value"):
        await desk.ask(requests.Submit(study={"name": "digits", "seed": None}), BOB)
    with pytest.raises(RequestError, match=r"study: a command is not taken over MQTT.*cnnbo submit STUDY"):
        await desk.ask(requests.Submit(study={"name": "digits", "command": ["id"]}), BOB)
    with pytest.raises(ConfigurationError, match=str(tmp_path)):  # the folder is looked at here, on the box
        right = {"name": "digits", "model": "svhn-cnn", "data": {"dir": str(tmp_path)}}
        await desk.ask(requests.Submit(study=right), BOB)


@pytest.mark.parametrize(
    "order",
    [
        submission(),
        requests.Pause(study="known"),
        requests.Limit(study="known", devices=1),
        requests.Limit(devices=1),
        requests.Drain(device="0"),
        submission(name="known"),
    ],
)
async def test_an_order_leaves_its_receipt_with_its_effect(tmp_path: Path, order: Request) -> None:
    """Whether it was carried out must be known after a kill at any moment."""
    async with scene(tmp_path) as at:
        desk = Desk(at)
        await desk.ask(submission(name="known"))
        await desk.ask(order, ME, RECEIPT)
        with pytest.raises(RequestError):
            await desk.ask(requests.Resume(study="nothing"), ME, replace(RECEIPT, transaction="2"))
    assert await receipts(tmp_path) == [RECEIPT]


async def test_a_bug_is_answered_too_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Silence would look like a broker that is away; the traceback is for us."""

    async def broken() -> object:
        raise ZeroDivisionError("division by zero")

    answer = await response(7, "show", broken())
    assert (answer["transaction"], answer["status"]) == (7, "error")
    assert "a bug in cnnbo" in str(answer["error"])
    assert caplog.records[0].exc_info is not None


async def crash_all(desk: Desk, attempt: int = 1) -> None:
    """Have all three trials crash in the same way, as with a broken script."""
    for trial in (1, 2, 3):
        await desk.at.end(trial, attempt, None)
    assert (desk.at.study.state, desk.at.study.reason) == ("paused", "crashes")


async def test_the_same_submission_runs_again_what_equal_crashes_had_paused(desk: Desk) -> None:
    """Whoever has mended the script gives the command that they gave before; as often as it takes."""
    await desk.ask(submission())
    await crash_all(desk)
    desk.at.ears.heard.clear()
    for attempt in (2, 3):
        answer = await desk.ask(submission())
        assert (answer["outcome"], answer["retried"]) == ("resumed", [1, 2, 3])
        assert (answer["state"], answer["undecided"]) == ("running", [])
        if attempt == 2:
            await crash_all(desk, attempt)
    assert desk.at.ears.events()[:4] == [*["trial_retried"] * 3, "study_running"]
    for trial in (1, 2, 3):
        await desk.at.end(trial, 3, 0.5)
    await desk.at.ears.until(lambda: desk.at.study.state.is_ended)
    assert (await desk.ask(submission()))["retried"] == []


async def test_each_crash_is_told_once_however_much_is_learned_of_it_later(desk: Desk) -> None:
    """The third one says what the first two were; that is no further failure of theirs."""
    await desk.ask(submission())
    await crash_all(desk)
    told = [message.body for message in desk.at.ears.heard if message.topic == "event"]
    failed = [body["trial"] for body in told if body is not None and body["event"] == "trial_failed"]
    assert failed == [1, 2, 3]
    topics: dict[str, Any] = {message.topic: message.body for message in desk.at.ears.heard}
    assert [topics[f"study/s/trial/{trial}"]["braked"] for trial in (1, 2, 3)] == [True] * 3


async def test_resumed_by_its_user_nothing_runs_again(desk: Desk) -> None:
    """The trials are decided about then, also for the next submission."""
    await desk.ask(submission(evaluations=9))
    await crash_all(desk)
    await desk.ask(requests.Resume(study="s"))
    assert (await desk.ask(submission(evaluations=9)))["retried"] == []
    assert [trial.state for trial in desk.at.study.trials[:3]] == ["failed"] * 3


async def test_a_users_pause_ends_and_crashes_during_it_run_again(desk: Desk) -> None:
    """Nobody was told of them by a pause of their own."""
    await desk.ask(requests.Limit(devices=2))
    await desk.ask(submission(start=SPEC.start[:2], evaluations=9))
    await desk.at.end(1, 1, None)
    await desk.at.executor.started("s/3/1")
    await desk.at.executor.started("s/2/1")
    await desk.ask(requests.Pause(study="s"))
    for trial in (2, 3):
        await desk.at.end(trial, 1, None)
    assert (desk.at.study.state, desk.at.study.reason) == ("paused", "user")
    answer = await desk.ask(submission(start=SPEC.start[:2], evaluations=9))
    assert (answer["outcome"], answer["retried"], answer["state"]) == ("resumed", [1, 2, 3], "running")


async def test_what_crashed_runs_again_where_it_is_submitted_again(desk: Desk) -> None:
    """Often the wrong environment was active; the right one counts from then on, and only then."""
    first, second = (replace(THEIRS, cwd=f"/{k}", owner="me") for k in (1, 2))
    await desk.ask(submission(origin=first))
    await desk.ask(submission(origin=second))
    assert desk.at.study.spec.origin == first
    await crash_all(desk)
    await desk.ask(submission(origin=second))
    assert desk.at.study.spec.origin == second


async def test_with_its_budget_spent_it_says_so_and_can_be_ended_or_given_more(desk: Desk) -> None:
    """Withdrawn and never run again, the study would stand still for ever."""
    small, large = (Budget(wall_clock_s=seconds) for seconds in (10_000.0, 30_000.0))
    await desk.ask(submission(budget=small))
    await crash_all(desk)
    await desk.at.shell.submit("s", TimeSpent(9.0, 10_000.0))
    with pytest.raises(RequestError, match=r"raise budget\.wall_clock .* give the same command, or .* cnnbo resume s"):
        await desk.ask(submission(budget=small))
    assert (desk.at.study.reason, desk.at.study.undecided) == ("crashes", (1, 2, 3))
    assert (await desk.ask(submission(budget=large)))["retried"] == [1, 2, 3]


async def test_an_order_that_runs_crashes_again_leaves_its_receipt(tmp_path: Path) -> None:
    """Sent twice, it must not run them twice."""
    async with scene(tmp_path) as at:
        desk = Desk(at)
        await desk.ask(submission())
        await crash_all(desk)
        await desk.ask(submission(), ME, RECEIPT)
    assert await receipts(tmp_path) == [RECEIPT]
