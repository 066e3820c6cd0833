"""The control socket, spoken to without our own client."""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.mutations import DEEP, mutated, odd_values, torn
from tests.integration.conftest import Box

from cnnbo.daemon.control import MAX_REQUEST_BYTES
from cnnbo.scheduler.codec import encode_value
from cnnbo.scheduler.space import FloatParameter, SearchSpace
from cnnbo.scheduler.spec import StudySpec

SPEC = StudySpec(SearchSpace((FloatParameter("x", 0.0, 1.0),)), command=("true",), optimizer="random")


def connect(state: Path) -> socket.socket:
    """A connection to a daemon's door."""
    directory = os.open(state, os.O_PATH)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(f"/proc/self/fd/{directory}/control.sock")
    os.close(directory)
    return connection


def speak(state: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines to a daemon and read as many answers."""
    with connect(state) as connection:
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
        b'{"verb": "show", "args": {"\\ud800": 5}}',
        b'{"verb": "submit", "args": {"spec": {"space": 3}}}',
        b'{"verb": "follow", "args": {}}',
        b'{"verb": "ping", "transaction": "last"}',
    )
    assert [answer["status"] for answer in answers] == ["error"] * 8 + ["ok"]
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


def test_a_crowd_that_leaves_leaves_nothing_behind(box: Box) -> None:
    """Whoever followed a study at rest and hung up was kept, with a descriptor, until there were none left."""
    daemon = box.daemon("--devices", "cpu:1")
    submit = {"verb": "submit", "args": {"spec": encode_value(SPEC) | {"name": "s", "evaluations": 1}}}
    speak(box.state, json.dumps(submit).encode(), b'{"verb": "pause", "args": {"study": "s"}}')
    descriptors = Path(f"/proc/{daemon.pid}/fd")
    before = len(list(descriptors.iterdir()))
    crowd = [connect(box.state) for _ in range(200)]
    for number, connection in enumerate(crowd):
        half = number % 2
        connection.sendall(b'{"verb": "follow"' if half else b'{"verb": "follow", "args": {"study": "s"}}\n')
    for connection in crowd[::2]:
        assert b'"ok"' in connection.recv(1 << 16)
    assert len(list(descriptors.iterdir())) > before + 190
    for connection in crowd:
        connection.close()
    deadline = time.monotonic() + 60
    while len(list(descriptors.iterdir())) > before + 10:
        speak(box.state, b'{"verb": "ping"}')
        assert time.monotonic() < deadline, "connections are kept"


def test_a_request_without_end_is_told_so(busy_box: Box) -> None:
    """A door that shuts without a word looks like a daemon that died."""
    with connect(busy_box.state) as connection, connection.makefile("rb") as answers:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"x" * (MAX_REQUEST_BYTES + 1_000_000))
        answer = json.loads(answers.readline())
    assert (answer["status"], "at most 4 MiB" in answer["error"]) == ("error", True)


REQUESTS: list[dict[str, Any]] = [
    {"verb": verb, "transaction": 1, "args": args}
    for verb, args in [
        ("submit", {"spec": encode_value(SPEC) | {"name": "s", "evaluations": 2, "max_devices": 1}}),
        ("submit", {"spec": encode_value(SPEC) | {"name": "s", "evaluations": 3, "start": [{"x": 0.5}]}}),
        ("pause", {"study": "s", "now": True}),
        ("resume", {"study": "s"}),
        ("retry", {"study": "s", "trials": [1], "crashed": True}),
        ("cancel", {"study": "s"}),
        ("archive", {"study": "s"}),
        ("delete", {"study": "s"}),
        ("show", {"study": "s"}),
        ("status", {}),
        ("devices", {}),
    ]
]
valid = st.sampled_from(REQUESTS)
lines = (
    st.one_of(valid, valid.flatmap(mutated), odd_values).map(json.dumps).map(str.encode)
    | valid.map(json.dumps).map(str.encode).flatmap(torn)
    | st.sampled_from([DEEP, b'{"verb": "ping", "transaction": ' + b"[" * 900 + b"]" * 900 + b"}"])
).filter(lambda line: b"\n" not in line)


@pytest.mark.hypothesis
def test_whatever_is_said_is_answered_in_a_sentence_and_outlived(box: Box) -> None:
    """Clients are other people's, and a daemon that owns a box for a month meets all of them."""
    daemon = box.daemon("--devices", "cpu:1")
    log: list[str] = []
    assert daemon.stdout is not None
    listener = threading.Thread(target=log.extend, args=(daemon.stdout,))
    listener.start()

    @settings(max_examples=2 * settings().max_examples)
    @given(said=st.lists(lines, min_size=1, max_size=6))
    def talk(said: list[bytes]) -> None:
        for answer in speak(box.state, *said):
            assert set(answer) == {"transaction", "status", "data", "error"}
            if answer["status"] == "error":
                assert "a bug" not in answer["error"], answer["error"]
                assert answer["error"].strip() and "Traceback" not in answer["error"]

    talk()
    [answer] = speak(box.state, b'{"verb": "ping"}')
    assert answer["status"] == "ok" and daemon.poll() is None
    daemon.kill()
    daemon.wait()
    listener.join()
    assert not [line for line in log if "Traceback" in line or "a bug" in line]
    box.daemon("--devices", "cpu:1")  # what was journalled is replayed
    [answer] = speak(box.state, b'{"verb": "status"}')
    assert answer["status"] == "ok"
