"""The control socket, spoken to without our own client."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Box

from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), command=("true",), optimizer="random")


def speak(state: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines to a daemon and read as many answers."""
    directory = os.open(state, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(f"/proc/self/fd/{directory}/control.sock")
        os.close(directory)
        file = connection.makefile("rwb")
        answers = []
        for line in lines:
            file.write(line + b"\n")
            file.flush()
            answers.append(json.loads(file.readline()))
        file.close()
    return answers


@pytest.fixture
def busy_box(box: Box) -> Box:
    """A box with a daemon."""
    box.daemon("--devices", "cpu:1")
    return box


def test_nonsense_gets_an_answer_and_the_next_request_too(busy_box: Box) -> None:
    """A broken client must not take the daemon's door away from the others."""
    answers = speak(
        busy_box.state,
        b"not json",
        b"[]",
        b'{"verb": "dance", "transaction": 7}',
        b'{"verb": "show", "args": 5}',
        b'{"verb": "show", "args": {"study": 5}}',
        b'{"verb": "submit", "args": {"spec": {"space": 3}}}',
        b'{"verb": "follow", "args": {}}',
        b'{"verb": "ping", "transaction": "last"}',
    )
    assert [answer["status"] for answer in answers] == ["error"] * 7 + ["ok"]
    assert answers[2]["transaction"] == 7 and "dance" in answers[2]["error"]
    assert answers[-1] == {"transaction": "last", "status": "ok", "data": {}, "error": None}
    assert not any("a bug" in str(answer["error"]) for answer in answers)


@pytest.mark.parametrize("name", ["../../etc", "", "UPPER", "a/b", "x" * 41, "a#b"])
def test_a_name_never_leads_out_of_the_state_folder(name: str, busy_box: Box) -> None:
    """Names become folders and topics, and clients may be other people's."""
    spec = encode_value(SPEC) | {"name": name}
    [answer] = speak(busy_box.state, json.dumps({"verb": "submit", "args": {"spec": spec}}).encode())
    assert answer["status"] == "error" and "no name for a study" in answer["error"]


@pytest.mark.parametrize(
    "change", [{"evaluations": "abc"}, {"seed": "x"}, {"command": []}, {"start": [{"y": 1}]}, {"evaluations": 0}]
)
def test_a_senseless_study_never_gets_into_the_journal(change: dict[str, object], busy_box: Box) -> None:
    """What is journalled is replayed at every start: one bad line would make the folder unusable."""
    request = json.dumps({"verb": "submit", "args": {"spec": encode_value(SPEC) | change}}).encode()
    answers = speak(busy_box.state, request, b'{"verb": "status"}')
    assert [answer["status"] for answer in answers] == ["error", "ok"]
    assert answers[1]["data"]["studies"] == []


SENSELESS_RETRIES: list[tuple[dict[str, object], str]] = [
    ({}, "names no study"),
    ({"study": "nothing", "crashed": True}, "no study 'nothing'"),
    ({"study": "s"}, "cnnbo retry s --crashed for all that crashed, or their numbers, like cnnbo retry s 3 7"),
    ({"study": "s", "trials": [], "crashed": False}, "cnnbo retry s --crashed"),
    ({"study": "s", "crashed": True}, "no trial of study s has crashed"),
    ({"study": "s", "trials": 1}, "a list of whole numbers"),
    ({"study": "s", "trials": "1"}, "a list of whole numbers"),
    ({"study": "s", "trials": None}, "a list of whole numbers"),
    ({"study": "s", "trials": [True]}, "a list of whole numbers"),
    ({"study": "s", "trials": [1.0]}, "a list of whole numbers"),
    ({"study": "s", "trials": [[1]]}, "a list of whole numbers"),
    ({"study": "s", "trials": [1], "crashed": "yes"}, "true or false"),
    ({"study": "s", "trials": [0]}, "has no trial 0"),
    ({"study": "s", "trials": [-1, 9]}, "has no trial -1"),
]


def test_a_retry_that_makes_no_sense_is_answered_with_what_does(busy_box: Box) -> None:
    """Clients are other people's; nothing half understood may withdraw a result."""
    submit = {"verb": "submit", "args": {"spec": encode_value(SPEC) | {"name": "s"}}}
    pause = {"verb": "pause", "args": {"study": "s"}}
    retries = [{"verb": "retry", "args": args} for args, _ in SENSELESS_RETRIES]
    _, _, *answers = speak(busy_box.state, *(json.dumps(line).encode() for line in (submit, pause, *retries)))
    for (_, sentence), answer in zip(SENSELESS_RETRIES, answers, strict=True):
        assert answer["status"] == "error" and sentence in answer["error"]
        assert "a bug" not in answer["error"]


def test_only_the_owner_can_knock(busy_box: Box) -> None:
    """Trials run as the daemon's user: whoever reaches the socket can run commands as that user."""
    assert (busy_box.state / "control.sock").stat().st_mode & 0o777 == 0o600
    assert busy_box.state.stat().st_mode & 0o077 == 0


def test_what_does_not_exist_here_is_refused_before_anything_starts(busy_box: Box) -> None:
    """Energy is not measured yet; a limit on it would be a promise nobody keeps."""
    study = busy_box.write_study(lambda text: text + "[budget]\nenergy_kwh = 5.0\n")
    assert "energy" in busy_box.run("submit", study, code=78).stderr
    assert busy_box.json("status")["studies"] == []
