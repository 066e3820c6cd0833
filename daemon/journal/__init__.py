"""The journal: SQLite, one append-only table of events as the truth, and tables that people can query beside it.

Every event is committed (WAL, synchronous FULL) before it is acted on, together with the rows that follow from it.
Rooms: `schema` and `migrations` say what a journal looks like, `upgrade` brings an older file up to that, `reading` is
for whoever has no daemon, `writer` for the daemon, `rows` for both.
"""

from cnnbo.daemon.journal.disk import RESERVE_BYTES, RESERVE_NAME, JournalFullError, too_full
from cnnbo.daemon.journal.reading import StoredStudy, read_events, read_journal, read_timeline
from cnnbo.daemon.journal.rows import RECEIPTS_KEPT, Receipt
from cnnbo.daemon.journal.schema import JOURNAL_NAME
from cnnbo.daemon.journal.writer import Journal, write_journal

__all__ = [
    "JOURNAL_NAME",
    "RECEIPTS_KEPT",
    "RESERVE_BYTES",
    "RESERVE_NAME",
    "Journal",
    "JournalFullError",
    "Receipt",
    "StoredStudy",
    "read_events",
    "read_journal",
    "read_timeline",
    "too_full",
    "write_journal",
]
