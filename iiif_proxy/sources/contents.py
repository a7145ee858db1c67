"""The bytes of sources: kept in a store, on their way into it, or in memory if the disk refuses."""

import contextlib
import fcntl
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from iiif_proxy.concurrency.recent import busy
from iiif_proxy.sources.held import Elsewhere, Growing, Held, is_written, move
from iiif_proxy.sources.record import Record, hashed
from iiif_proxy.stores.base import Key, Store

log = logging.getLogger(__name__)
# What one download may hold in memory when the disk refuses.
MEMORY = 256 << 20
# Files that killed processes left behind are looked for so often, and taken when they are so old.
TIDY_EVERY, TIDY_AGE = 600.0, 60.0
# Seconds in which a viewer that is near has the first tiles: 600 KB are written after them.
QUIET = 0.03


class Contents:
    """Bytes by their record's `bytes_id`. Downloads are in `folder`, on the store's file system."""

    def __init__(self, store: Store, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self._tidied = -TIDY_EVERY

    def get(self, record: Record) -> Held | None:
        """What is stored."""
        entry = self._store.get(_key(record))
        if entry is None:
            return None
        with entry, contextlib.suppress(OSError):
            return Held(os.dup(entry.fileno()))
        return None

    def growing(self, record: Record, whole: Callable[[], Held]) -> Held | None:
        """What another process is receiving now; `whole` as Elsewhere says."""
        if self._folder is None:
            return None
        path = str(self._folder / record.bytes_id)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        held = Held(descriptor, Elsewhere(path, descriptor, whole))
        return held if is_written(path) else None

    def incoming(self, record: Record, growing: Growing) -> "Incoming":
        """A place for bytes that begin to come; without a name if they may not be kept."""
        if self._folder is None or not record.keep:
            return Incoming(None, growing)
        if time.monotonic() - self._tidied > TIDY_EVERY:
            self._tidied = time.monotonic()
            threading.Thread(target=tidy, args=(self._folder,), daemon=True).start()
        return Incoming(self._folder / record.bytes_id, growing)

    def keep(self, record: Record, incoming: "Incoming") -> None:
        """All has come."""
        incoming.held.settle()
        if incoming.path is not None:
            self._store.adopt(_key(record), incoming.path)

    def note(self, record: Record, noted: bytes) -> None:
        """Keep what was read of a file that is not kept whole: soon, for the other processes."""

        def write() -> None:
            self._store.put(_key(record, "parts"), lambda file: file.write(noted)).close()

        if record.keep:
            later = threading.Timer(QUIET, write)
            later.daemon = True
            try:
                later.start()
            except RuntimeError:  # No thread is to be had.
                write()

    def noted(self, record: Record) -> bytes | None:
        entry = self._store.get(_key(record, "parts"))
        if entry is None:
            return None
        with entry, contextlib.suppress(OSError):
            return entry.read()
        return None

    def drop(self, record: Record) -> None:
        self._store.delete(_key(record))

    def forget(self, identifier: str) -> None:
        self._store.purge(hashed(identifier))

    def forget_all(self) -> None:
        self._store.purge_all()


class Incoming:
    """The file that a download is written to. `held` reads it.

    At `path`, so that keeping it is a rename; nameless without one; in memory as soon as the disk
    refuses, so that the request in hand is still answered.
    """

    def __init__(self, path: Path | None, growing: Growing) -> None:
        self.path: Path | None = None
        self.size = 0
        self._in_memory = False
        try:
            descriptor = self._nameless() if path is None else self._named(path)
        except OSError:
            descriptor = self._memory()
        self.held = Held(descriptor, growing)

    def _named(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o644)
        self.path = path
        with contextlib.suppress(OSError):
            # As long as this process lives: others see whether it still does.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def _nameless(self) -> int:
        with tempfile.TemporaryFile(buffering=0) as made:
            return os.dup(made.fileno())

    def _memory(self) -> int:
        self._in_memory = True
        return os.memfd_create("iiif-proxy-source")

    def write(self, chunk: bytes) -> None:
        """Raises Busy when neither disk nor memory take it, OSError when the system does not."""
        with memoryview(chunk) as view:
            done = 0
            while done < len(view):
                if self._in_memory and self.size + len(view) > MEMORY:
                    raise busy(60)
                try:
                    done += os.write(self.held.descriptor, view[done:])
                except OSError as refusal:
                    if self._in_memory:
                        raise
                    log.warning("a source goes to memory (%s)", refusal.strerror)
                    self._to_memory()
        self.size += len(chunk)

    def _to_memory(self) -> None:
        if self.size > MEMORY:
            raise busy(60)
        memory = self._memory()
        try:
            offset = 0
            while block := os.pread(self.held.descriptor, 1 << 20, offset):
                offset += os.write(memory, block)
        except BaseException:
            os.close(memory)
            raise
        self.close()
        move(memory, self.held.descriptor)

    def close(self) -> None:
        """Take the name away, if it has it still; what is held can be read all the same."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            self.path = None


def tidy(folder: Path) -> None:
    """Remove what processes that were killed were receiving."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                old = time.time() - entry.stat().st_mtime > TIDY_AGE
                if old and not is_written(entry.path):
                    os.unlink(entry.path)


def _key(record: Record, name: str = "source") -> Key:
    return Key(hashed(record.identifier), record.bytes_id, name)
