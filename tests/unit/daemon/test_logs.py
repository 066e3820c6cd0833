"""The log as its readers want it: people at a terminal, journald, and collectors of JSON lines."""

import io
import json
import logging
import os
import pty
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TextIO

import pytest

from cnnbo.daemon.logs import set_up_logging
from cnnbo.daemon.settings import LogForm


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    """Other tests have handlers of their own at the root."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "stderr").open("w+") as opened:
        yield opened


def journal_of(file: TextIO) -> dict[str, str]:
    """The environment by which systemd says that a file is the journal's."""
    status = os.fstat(file.fileno())
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def speak(name: str = "paho.client") -> None:
    logger = logging.getLogger(name)
    logger.info("ready")
    logger.debug("too much to say")
    try:
        raise ValueError("lines\nof it")
    except ValueError:
        logger.exception("a bug")


def written(file: TextIO) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def test_elsewhere_it_is_plain_text(file: TextIO) -> None:
    """Whatever catches stderr adds the time that it wants."""
    set_up_logging(LogForm.TEXT, file, {"JOURNAL_STREAM": "1:2"})
    speak()
    assert written(file)[:3] == ["INFO ready", "ERROR a bug", "Traceback (most recent call last):"]


def test_journald_gets_a_priority_on_each_line(file: TextIO) -> None:
    """A line of a traceback without one would be told at another priority than its error."""
    set_up_logging(LogForm.TEXT, file, journal_of(file))
    speak()
    logging.getLogger("cnnbo").warning("")
    first, *others, last = written(file)
    assert (first, last) == ("<6>INFO ready", "<4>WARNING ")
    assert len(others) > 4 and all(line.startswith("<3>") for line in others)


@pytest.mark.parametrize("is_journal", [False, True])
def test_json_is_an_object_a_line(file: TextIO, is_journal: bool) -> None:
    """A collector parses lines; journald takes the priority off before it keeps them."""
    set_up_logging(LogForm.JSON, file, journal_of(file) if is_journal else {})
    speak("cnnbo.daemon.shell")
    lines = written(file)
    assert len(lines) == 2
    if is_journal:
        assert [line[:3] for line in lines] == ["<6>", "<3>"]
        lines = [line[3:] for line in lines]
    ready, bug = map(json.loads, lines)
    assert list(ready) == ["ts", "level", "logger", "message"]
    assert (ready["level"], ready["logger"], ready["message"]) == ("info", "cnnbo.daemon.shell", "ready")
    assert datetime.fromisoformat(ready["ts"]).utcoffset() is not None and ready["ts"].endswith("Z")
    assert (bug["level"], bug["message"]) == ("error", "a bug")
    assert bug["exception"].endswith("ValueError: lines\nof it")


def test_a_terminal_gets_the_time() -> None:
    """Who looks at it the next morning wants to know when it was."""
    leader, follower = pty.openpty()
    with closing(os.fdopen(follower, "w")) as terminal, closing(os.fdopen(leader, "rb", buffering=0)) as screen:
        set_up_logging(LogForm.TEXT, terminal, {})
        logging.getLogger("cnnbo").info("ready")
        time, *rest = screen.read(100).decode().split()
    assert datetime.strptime(time, "%H:%M:%S") and rest == ["INFO", "ready"]


def test_warnings_and_a_second_form_go_the_same_way(file: TextIO) -> None:
    """A reload may change the form, and no line may come twice, or past the handler."""
    set_up_logging(LogForm.TEXT, io.StringIO(), {})
    set_up_logging(LogForm.JSON, file, {})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    [line] = written(file)
    assert json.loads(line)["logger"] == "py.warnings" and "old" in line
