"""What an install made, so that an uninstall takes away that and nothing else."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cnnbo import __version__
from cnnbo.daemon.planned import read_if_there
from cnnbo.scheduler.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Manifest:
    """What all installs so far made; it is written before anything else is, so it holds after any interruption.

    Attributes:
        version: of cnnbo, at the last install.
        made: what wasn't there before: `user`, `group`, `linger`, and folders by their paths.
        written: SHA-256 of every text that was written, in hex: a file with another one was changed by somebody.
    """

    version: str = __version__
    made: tuple[str, ...] = ()
    written: tuple[str, ...] = ()

    def is_own(self, content: bytes | None) -> bool:
        """Whether an install wrote exactly this."""
        return content is not None and _digest(content) in self.written

    def adding(self, made: Iterable[str], contents: Iterable[bytes]) -> "Manifest":
        """The manifest of an install that makes this, too."""
        return replace(
            self,
            version=__version__,
            made=tuple(dict.fromkeys((*self.made, *made))),
            written=tuple(dict.fromkeys((*self.written, *map(_digest, contents)))),
        )

    def text(self) -> str:
        """The file's text."""
        content = {"version": self.version, "made": self.made, "written": self.written}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """The manifest in a file; an empty one where there is none.

        Raises:
            ConfigurationError: it can't be read, or was damaged.
        """
        raw = read_if_there(path)
        if raw is None:
            return cls()
        try:
            content = json.loads(raw)
            return cls(str(content["version"]), tuple(map(str, content["made"])), tuple(map(str, content["written"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} says what `cnnbo service install` made here, and is damaged; move it away: then user, "
                "configuration and linger count as made by somebody else, and stay."
            ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
