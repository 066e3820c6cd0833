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
from cnnbo.scheduler.spec import Origin

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
