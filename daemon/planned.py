"""Files that are worked out first, shown if wished, and then written."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cnnbo.models.files import replacing
from cnnbo.scheduler.errors import ConfigurationError

_PUBLIC: Final = 0o644
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file as it should be.

    Attributes:
        path: absolute.
        content: all of it.
        is_private: whether only its owner may read it.
        is_secret: whether it may be shown to nobody; implies `is_private`.
        is_for_broker: whether the broker reads it without root's rights.
        before: what stands there now, None where nothing does.
    """

    path: Path
    content: bytes = field(repr=False)
    is_private: bool = False
    is_secret: bool = False
    is_for_broker: bool = False
    before: bytes | None = field(default=None, repr=False)

    @property
    def change(self) -> str:
        """`new`, `changed` or `kept`."""
        return "new" if self.before is None else "kept" if self.before == self.content else "changed"

    def write(self, broker: tuple[int, int] | None) -> None:
        """Make it so, as a whole or not at all; a file that is kept gets its owner and its mode again.

        Args:
            broker: user and group of the broker, None where it runs as who runs us.

        Raises:
            OSError: it can't be written.
        """
        mode = _PRIVATE if self.is_private or self.is_secret else _PUBLIC
        if self.change == "kept":
            _hand_over(self.path, mode, broker if self.is_for_broker else None)
            return
        with replacing(self.path) as target:
            _hand_over(target.fileno(), mode, broker if self.is_for_broker else None)
            target.write(self.content)


def _hand_over(file: Path | int, mode: int, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.chown(file, *owner)
    os.chmod(file, mode)  # noqa: PTH101 - it may be a descriptor


def planned(
    path: Path,
    content: bytes | str,
    *,
    is_private: bool = False,
    is_secret: bool = False,
    is_for_broker: bool = False,
) -> PlannedFile:
    """A planned file, compared with what is there.

    Raises:
        ConfigurationError: what is there can't be read.
    """
    raw = content.encode() if isinstance(content, str) else content
    return PlannedFile(path, raw, is_private, is_secret, is_for_broker, read_if_there(path))


def read_if_there(path: Path) -> bytes | None:
    """What stands in a file, None where there is none.

    Raises:
        ConfigurationError: it can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path} can't be read ({error.strerror}); name another folder, or run it as its owner."
        ) from error
