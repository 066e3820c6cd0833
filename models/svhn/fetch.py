"""Getting the real SVHN: from its home page, a mirror, or a folder; resumable, and checked to the last byte."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cnnbo.models.svhn.layout import FILES
from cnnbo.scheduler.errors import ConfigurationError, RequestError

HOME: Final = "http://ufldl.stanford.edu/housenumbers"
MD5: Final = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
"""Checksums of the official files. MD5 guards against damage here, not against malice."""

TERMS: Final = f"SVHN is for non-commercial use only ({HOME}/)."

OnProgress = Callable[[str, int, int | None], None]
"""Told a file's name, the bytes that are there, and the bytes in all, or None while that isn't known."""

_BLOCK: Final = 1 << 18
_TIMEOUT_S: Final = 30.0
_IDLE_TRIES: Final = 3  # so many times in a row the other side may break off without having sent anything new


def fetch(folder: Path, mirror: str, on_progress: OnProgress) -> None:
    """Download what isn't there yet; an interrupted download is gone on with where it stopped.

    Args:
        folder: where to; made if it isn't there. Unfinished files end in `.part`.
        mirror: address of the folder with the files, like `HOME`.
        on_progress: told about every block.

    Raises:
        RequestError: the other side can't be reached, hasn't the file, breaks off again and again, or sent other bytes.
        ConfigurationError: a file of that name is there already, and isn't the official one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        if not _is_there(folder / name):
            _fetch_file(f"{mirror.rstrip('/')}/{name}", folder / name, on_progress)


def copy(source: Path, folder: Path) -> None:
    """Copy the official files from another folder, checking each.

    Raises:
        ConfigurationError: one is missing there, or isn't the official file; or another one is in the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        if _is_there(folder / name):
            continue
        if not (source / name).is_file():
            raise ConfigurationError(f"{source} holds no {name}; leave --from away to download it.")
        part = _part(folder / name)
        shutil.copyfile(source / name, part)
        if not is_official(part, name):
            part.unlink()
            raise ConfigurationError(f"{source / name} is not the official file (its md5 differs); get it again.")
        part.rename(folder / name)


def is_official(path: Path, name: str | None = None) -> bool:
    """Whether a file is, byte for byte, the official one of its name (or of `name`)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == MD5[name or path.name]


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _is_there(target: Path) -> bool:
    if not target.exists():
        return False
    if not is_official(target):
        raise ConfigurationError(
            f"{target} is there already and is not the official file; move it away, or name another folder."
        )
    return True


def _fetch_file(url: str, target: Path, on_progress: OnProgress) -> None:
    part = _part(target)
    part.touch()
    tries_left = _IDLE_TRIES
    while True:
        before = part.stat().st_size
        reason = _advance(url, part, on_progress)
        if reason is None:
            break
        tries_left = _IDLE_TRIES if part.stat().st_size > before else tries_left - 1
        if tries_left == 0:
            raise RequestError(
                f"{url} can't be downloaded ({reason}); the same command goes on from here; or give --mirror or --from."
            )
    if not is_official(part, target.name):
        part.unlink()  # resuming it would only keep the damage
        raise RequestError(f"{url} is not the official file (its md5 differs); try again, or give another --mirror.")
    part.rename(target)


def _advance(url: str, part: Path, on_progress: OnProgress) -> str | None:
    """Fetch what is missing of a file; returns why it stopped early, or None when it is whole."""
    have = part.stat().st_size
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return _receive(response, part, have, on_progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None  # nothing lies beyond what is here: whether it is right, the checksum tells
        return f"HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


def _receive(response: http.client.HTTPResponse, part: Path, have: int, on_progress: OnProgress) -> str | None:
    resumed = response.status == http.client.PARTIAL_CONTENT
    done = have if resumed else 0  # a server that doesn't know ranges starts from the beginning
    total = None if response.length is None else done + response.length
    with part.open("ab" if resumed else "wb") as file:
        while block := response.read1(_BLOCK):
            file.write(block)
            done += len(block)
            on_progress(part.name.removesuffix(".part"), done, total)
    # `read1` ends quietly when the connection does, early or not.
    return None if total is None or done >= total else f"the connection ended after {done} of {total} bytes"
