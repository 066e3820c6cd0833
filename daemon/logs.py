"""How the daemon writes its log to stderr: for a terminal, for journald, or as JSON lines.

It is set on the root logger, so what libraries say, and Python's warnings, is written the same way.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Final, TextIO

from cnnbo.daemon.messages import rfc3339
from cnnbo.daemon.settings import LogForm

# sd-daemon(3), of syslog(3).
_PRIORITIES: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "ts": rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class JournaldFormatter(logging.Formatter):
    """Puts the priority before each line, as journald wants it: a line without one would be a message of its own."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        priority = next((n for level, n in _PRIORITIES.items() if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).splitlines() or [""])


def set_up_logging(form: LogForm, stream: TextIO = sys.stderr, environ: Mapping[str, str] = os.environ) -> None:
    """Write the log of this process to a stream, in place of how it was written before.

    Args:
        form: text or JSON.
        stream: where to.
        environ: the environment, in which systemd names the journal's end of stderr (JOURNAL_STREAM).
    """
    handler = logging.StreamHandler(stream)
    inner = JsonFormatter() if form is LogForm.JSON else _text_formatter(stream)
    handler.setFormatter(JournaldFormatter(inner) if _is_journal(stream, environ) else inner)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _text_formatter(stream: TextIO) -> logging.Formatter:
    if stream.isatty():
        return logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    return logging.Formatter("%(levelname)s %(message)s")


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream goes to journald; a child that was given another stderr inherits the variable, too."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # not a file, or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
