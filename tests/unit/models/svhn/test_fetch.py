import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cnnbo.models.svhn import fetch as svhn
from cnnbo.models.svhn.layout import FILES
from cnnbo.scheduler.errors import ConfigurationError, RequestError

CONTENT = {name: np.random.default_rng(len(name)).bytes(300_000) for name in FILES.values()}
TRAIN = FILES["train"]


@dataclass
class Mirror:
    """A web server on this machine, and how it misbehaves."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    knows_ranges: bool = True
    break_after: list[int] = field(
        default_factory=list
    )  # of each coming answer, so many bytes arrive, then it breaks off
    ranges: list[str | None] = field(default_factory=list)  # what was asked for


class Handler(BaseHTTPRequestHandler):
    """Serves files of a `Mirror`, whole or from an offset."""

    def __init__(self, mirror: Mirror, *arguments: object) -> None:
        self.mirror = mirror
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """One file, or what is asked for of it."""
        content = self.mirror.files.get(self.path.lstrip("/"))
        asked = self.headers.get("Range")
        self.mirror.ranges.append(asked)
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.mirror.knows_ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        count = self.mirror.break_after.pop(0) if self.mirror.break_after else len(content)
        self.wfile.write(content[start : start + count])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Keep quiet."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A running mirror of small files that count as the official ones."""
    for name, content in CONTENT.items():
        monkeypatch.setitem(svhn.MD5, name, hashlib.md5(content).hexdigest())
    mirror = Mirror()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, mirror)) as server:
        mirror.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


def fetch(folder: Path, mirror: Mirror) -> list[tuple[str, int, int | None]]:
    """Fetch everything; returns what was told of the progress."""
    told: list[tuple[str, int, int | None]] = []
    svhn.fetch(folder, mirror.address, lambda *news: told.append(news))
    return told


def assert_complete(folder: Path) -> None:
    """All files are there, right, and nothing else is."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_all_files_arrive(mirror: Mirror, tmp_path: Path) -> None:
    """The plain case, with the progress up to the last byte of each file."""
    told = fetch(tmp_path / "new", mirror)
    assert_complete(tmp_path / "new")
    assert {(name, 300_000, 300_000) for name in FILES.values()} <= set(told)


def test_what_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    """1.6 GB once is enough."""
    fetch(tmp_path, mirror)
    mirror.ranges.clear()
    fetch(tmp_path, mirror)
    assert mirror.ranges == []


def test_a_broken_connection_is_gone_on_with(mirror: Mirror, tmp_path: Path) -> None:
    """The home page is slow and breaks off: nothing that arrived is asked for again."""
    mirror.break_after = [100_000, 50_000]
    fetch(tmp_path, mirror)
    assert_complete(tmp_path)
    assert mirror.ranges[:3] == [None, "bytes=100000-", "bytes=150000-"]


def test_an_earlier_attempt_is_gone_on_with(mirror: Mirror, tmp_path: Path) -> None:
    """Ctrl-C and the same command again."""
    (tmp_path / f"{TRAIN}.part").write_bytes(CONTENT[TRAIN][:200_000])
    fetch(tmp_path, mirror)
    assert_complete(tmp_path)
    assert mirror.ranges[0] == "bytes=200000-"


def test_a_whole_part_file_is_only_checked(mirror: Mirror, tmp_path: Path) -> None:
    """Killed between the last byte and the renaming: the server has nothing more to send."""
    (tmp_path / f"{TRAIN}.part").write_bytes(CONTENT[TRAIN])
    fetch(tmp_path, mirror)
    assert_complete(tmp_path)


def test_a_server_without_ranges_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    """It answers 200 with everything, which must not be appended to what is there."""
    mirror.knows_ranges = False
    (tmp_path / f"{TRAIN}.part").write_bytes(CONTENT[TRAIN][:200_000])
    fetch(tmp_path, mirror)
    assert_complete(tmp_path)


def test_a_server_that_always_breaks_off_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    """No endless loop; what arrived stays for the next time."""
    mirror.break_after = [1000, 0, 0, 0]
    with pytest.raises(RequestError, match=r"connection ended after 1000 of 300000 bytes.*the same command goes on"):
        fetch(tmp_path, mirror)
    assert (tmp_path / f"{TRAIN}.part").stat().st_size == 1000


def test_other_bytes_are_refused_and_thrown_away(mirror: Mirror, tmp_path: Path) -> None:
    """Neither training on them nor resuming them may happen."""
    mirror.files[TRAIN] = b"x" * 300_000
    with pytest.raises(RequestError, match=r"is not the official file \(its md5 differs\)"):
        fetch(tmp_path, mirror)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_sentence(mirror: Mirror, tmp_path: Path) -> None:
    """A wrong --mirror is the usual reason."""
    del mirror.files[TRAIN]
    with pytest.raises(RequestError, match=r"can't be downloaded \(HTTP 404 Not Found\).*--mirror or --from"):
        fetch(tmp_path, mirror)


def test_no_connection_is_one_sentence(tmp_path: Path) -> None:
    """Offline is where most first downloads fail. Port 9 of this machine: nobody listens, nobody may."""
    with pytest.raises(RequestError, match=r"can't be downloaded \(.*refused.*\).*--from"):
        svhn.fetch(tmp_path, "http://127.0.0.1:9", lambda *news: None)


@pytest.mark.usefixtures("mirror")
def test_another_file_in_the_way_is_kept(tmp_path: Path) -> None:
    """It may be somebody's own data set in the same layout."""
    (tmp_path / TRAIN).write_bytes(b"mine")
    refusal = "is not the official file; move it away"
    with pytest.raises(ConfigurationError, match=refusal):
        svhn.fetch(tmp_path, "http://127.0.0.1:9", lambda *news: None)
    with pytest.raises(ConfigurationError, match=refusal):
        svhn.copy(tmp_path, tmp_path)
    assert (tmp_path / TRAIN).read_bytes() == b"mine"


@pytest.mark.usefixtures("mirror")
def test_files_are_copied_and_checked(tmp_path: Path) -> None:
    """The way without a network: somebody else's download."""
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(ConfigurationError, match=r"source holds no train_32x32\.mat"):
        svhn.copy(source, tmp_path / "new")
    for name, content in CONTENT.items():
        (source / name).write_bytes(content)
    svhn.copy(source, tmp_path / "new")
    assert_complete(tmp_path / "new")
    (source / TRAIN).write_bytes(b"cut short")
    with pytest.raises(ConfigurationError, match="is not the official file"):
        svhn.copy(source, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []
