"""The file an object is written to before it is known whether the disk takes it."""

import contextlib
import errno
import io
import os
import resource
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# Most derivatives are far below this: a JPEG of 100 megapixels is 20-25 MB.
SPILL = 32 << 20
BLOCK = 1 << 20

# Opens the file that a large draft moves to: its descriptor, and its name if it has one.
Spill = Callable[[], tuple[int, str | None]]


class Draft:
    """A binary file in memory with a real descriptor; beyond SPILL bytes it moves to the disk.

    Not written to the disk directly, because Pillow's `encode_to_file` does not notice a short
    write: on a full tmpfs a JPEG of 68452 bytes became one of 65536 *without an error* (Pillow
    13.0.0, `test_draft.py`). A memfd takes every byte, frees the GIL as any descriptor does, tells
    the size before the disk is touched, costs 13 us with the copy, and is the answer itself if the
    disk refuses, so nothing is ever encoded twice. Only writes that go through Python spill (PNG,
    WebP, AVIF do): those are checked here.

    Under EMFILE, or a limit on the size of files (which would cut a memfd short too), it is a
    BytesIO: slower, never wrong.
    """

    def __init__(self, spill: Spill | None = None) -> None:
        self.size = 0
        self._raw: _Raw | None = None
        self.file: BinaryIO
        try:
            if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
                raise OSError(errno.EFBIG, "file sizes are limited")
            self._raw = _Raw(_memory(), spill)
        except OSError:
            self.file = io.BytesIO()
        else:
            # A RawIOBase is not declared as what BufferedRandom takes; it is what it needs.
            self.file = cast(BinaryIO, io.BufferedRandom(self._raw, 1 << 16))

    @staticmethod
    def nameless() -> tuple[int, str | None]:
        """A Spill to a file of the system's temporary folder that has no name."""
        with tempfile.TemporaryFile(buffering=0) as made:
            return os.dup(made.fileno()), None

    def finish(self) -> None:
        """Nothing more will be written: `size` is known."""
        if self._raw is None:
            self.size = len(self.bytes())
            return
        if not self.file.closed:
            self.file.flush()
        self.size = os.fstat(self._raw.descriptor).st_size

    @property
    def spilled(self) -> tuple[int, str] | None:
        """Descriptor and name of the file on the disk, if it moved there."""
        if self._raw is None or self._raw.path is None:
            return None
        return self._raw.descriptor, self._raw.path

    def copy_to(self, target: int, seen: Callable[[bytes], object] | None = None) -> None:
        """All bytes to a descriptor; `seen` gets each block. Raises OSError."""
        if self._raw is None:
            data = self.bytes()
            if seen is not None:
                seen(data)
            _write(target, data)
        else:
            copy(self._raw.descriptor, target, seen)

    def bytes(self) -> bytes:
        """All of a draft that has no descriptor."""
        return cast(io.BytesIO, self.file).getvalue()

    def take(self) -> int | None:
        """The descriptor, which is the caller's to close from now on; None if there is none."""
        if self._raw is None:
            return None
        descriptor, self._raw.descriptor = self._raw.descriptor, -1
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def keep_name(self) -> None:
        """The spilled file was renamed: there is no name to take away."""
        if self._raw is not None:
            self._raw.path = None

    def close(self) -> None:
        if self._raw is not None:
            self._raw.give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Raw(io.RawIOBase):
    """Bytes on a descriptor that may change below: memory, disk, and back if the disk refuses."""

    def __init__(self, descriptor: int, spill: Spill | None) -> None:
        self.descriptor = descriptor
        self.path: str | None = None
        self._spill = spill
        self._pinned = False
        self._on_disk = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Memory's only: what others write there is not checked, so it must not become short."""
        if self._on_disk:
            raise io.UnsupportedOperation("fileno")
        self._pinned = True
        return self.descriptor

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return os.readv(self.descriptor, [buffer])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # A buffer that is flushed when its object dies, after all was given up, moves nowhere.
        return 0 if self.descriptor < 0 else os.lseek(self.descriptor, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self.descriptor, size)
        return size

    def write(self, data: "ReadableBuffer") -> int:
        with memoryview(data).cast("B") as view:
            if self.descriptor < 0:
                return len(view)  # Nowhere, see `seek`.
            if self._spill and not self._pinned and self.tell() + len(view) > SPILL:
                self._to_disk(self._spill)
            done = 0
            while done < len(view):
                try:
                    done += os.write(self.descriptor, view[done:])
                except OSError:
                    if not self._on_disk:
                        raise
                    self._move(_memory(), None)
                    self._on_disk = False
            return done

    def _to_disk(self, spill: Spill) -> None:
        self._spill = None
        try:
            descriptor, path = spill()
        except OSError:
            return
        try:
            self._move(descriptor, path)
            self._on_disk = True
        except OSError:
            os.close(descriptor)
            unlinked(path)

    def _move(self, descriptor: int, path: str | None) -> None:
        position = self.tell()
        copy(self.descriptor, descriptor)
        os.lseek(descriptor, position, os.SEEK_SET)
        os.close(self.descriptor)
        unlinked(self.path)
        self.descriptor, self.path = descriptor, path

    def give_up(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        unlinked(self.path)
        self.path = None


def copy(source: int, target: int, seen: Callable[[bytes], object] | None = None) -> None:
    """All bytes of one descriptor to another, whatever their positions were. Raises OSError."""
    offset = 0
    while block := os.pread(source, BLOCK, offset):
        if seen is not None:
            seen(block)
        _write(target, block)
        offset += len(block)


def _write(target: int, data: bytes) -> None:
    done = os.write(target, data)
    while done < len(data):
        done += os.write(target, data[done:])


def unlinked(path: str | None) -> None:
    """Take a name away if it is there and can be."""
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("iiif-proxy")
    return Draft.nameless()[0]
