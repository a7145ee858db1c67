"""Counts that all processes of a machine share: a small SQLite file."""

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from limits.storage import Storage
from limits.storage.base import MovingWindowSupport

from iiif_proxy.sources.base import mind_forks

# Seconds to wait for another process's turn: each takes some 50 us.
PATIENCE = 2.0
# Of so many entries one tidies up.
TIDY = 500
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (key TEXT, at REAL, until REAL);
CREATE INDEX IF NOT EXISTS by_key ON entries (key, at);
CREATE INDEX IF NOT EXISTS by_until ON entries (until);
"""


class RateFile(Storage, MovingWindowSupport):
    """The storage that the library `limits` has not: `file:///folder/rates.sqlite3`.

    Nothing is flushed: what a power cut takes away is counts.
    """

    STORAGE_SCHEME: ClassVar[list[str]] = ["file"]  # type: ignore[misc]

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: str) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._path = Path(uri.removeprefix("file://"))
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        mind_forks(self)
        self._written = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        return sqlite3.Error

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        with self._turn() as db:
            if self._count(db, key, now - expiry) + amount > limit:
                return False
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)", [(key, now, now + expiry)] * amount
            )
            self._written += 1
            if self._written % TIDY == 1:
                db.execute("DELETE FROM entries WHERE until < ?", (now,))
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = time.time()
        with self._turn() as db:
            oldest, count = db.execute(
                "SELECT min(at), count(*) FROM entries WHERE key = ? AND at > ?",
                (key, now - expiry),
            ).fetchone()
        return (now if oldest is None else oldest), count

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        with self._turn() as db:
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?)", [(key, now, now + expiry)] * amount
            )
            return self._count(db, key, now - expiry)

    def get(self, key: str) -> int:
        with self._turn() as db:
            row = db.execute(
                "SELECT count(*) FROM entries WHERE key = ? AND until > ?", (key, time.time())
            ).fetchone()
        return int(row[0])

    def get_expiry(self, key: str) -> float:
        with self._turn() as db:
            row = db.execute("SELECT max(until) FROM entries WHERE key = ?", (key,)).fetchone()
        return float(row[0] or time.time())

    def check(self) -> bool:
        with contextlib.suppress(sqlite3.Error), self._turn():
            return True
        return False

    def reset(self) -> int:
        with self._turn() as db:
            return db.execute("DELETE FROM entries").rowcount

    def clear(self, key: str) -> None:
        with self._turn() as db:
            db.execute("DELETE FROM entries WHERE key = ?", (key,))

    def _count(self, db: sqlite3.Connection, key: str, since: float) -> int:
        row = db.execute(
            "SELECT count(*) FROM entries WHERE key = ? AND at > ?", (key, since)
        ).fetchone()
        return int(row[0])

    @contextlib.contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else is in, in this process or another."""
        with self._lock:
            db = self._opened()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == os.getpid():
            return self._db
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(
            self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        weakref.finalize(self, db.close)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(SCHEMA)
        self._db, self._pid = db, os.getpid()
        return db

    def after_fork(self) -> None:
        """A child opens the file anew; a lock may have been held by a thread that is not there."""
        self._lock = threading.Lock()
