"""Files that are there as a whole or not at all, whenever the power goes."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file to write what is to stand at `target`, which takes its place when the block ends without an error.

    After any crash there is the old file or the new one, on the disk, never a part. A process that is killed in the
    block leaves its part beside the target, as `.<name>-…`.

    Args:
        target: where the file is to stand, in a folder that exists.

    Raises:
        OSError: it can't be written; what stood there still does.
    """
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).rename(target)
        except BaseException:
            Path(file.name).unlink()
            raise
    _sync(target.parent)


def _sync(folder: Path) -> None:
    # The new name is on the disk only when its folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
