"""An answer leaves as fast as its visitor reads it, and holds no thread meanwhile."""

import errno
import os
import select
import socket
import time
from typing import Any, BinaryIO, Self

# So long a thread itself waits for its visitor: 20 MB leave in it at a gigabit a second.
THREAD_SECONDS = 0.25
# Who reads nothing at all for so long is left.
READ_SECONDS = 60.0
# What is sent at one turn of the loop, which all connections of the process share.
TURN = 1 << 20


class Rest:
    """What is still to be sent: a piece of memory, or of a file (a descriptor of its own)."""

    def __init__(self, data: bytes | memoryview, file: int = -1, offset: int = 0, count: int = 0):
        self._data = memoryview(data)
        self._file, self._offset, self._count = file, offset, count

    @classmethod
    def of_file(cls, file: BinaryIO, offset: int, count: int) -> Self:
        """Raises OSError if there is no descriptor left."""
        return cls(b"", os.dup(file.fileno()), offset, count)

    @property
    def held(self) -> int:
        """Bytes of memory: all of the piece, until its last byte has gone."""
        return memoryview(self._data.obj).nbytes if self._data else 0

    def send(self, sock: socket.socket, most: int = TURN) -> bool:
        """As much as is taken without waiting; whether that was all. Raises OSError."""
        try:
            while self._data and most > 0:
                done = sock.send(self._data[:most], socket.MSG_DONTWAIT)
                self._data, most = self._data[done:], most - done
            while self._count and most > 0:
                # The socket must not wait: sendfile has no flag for it.
                count = min(self._count, most)
                done = os.sendfile(sock.fileno(), self._file, self._offset, count)
                if not done:
                    raise OSError("a stored object was cut short")
                self._offset, self._count, most = (
                    self._offset + done,
                    self._count - done,
                    most - done,
                )
        except BlockingIOError:
            pass
        return not (self._data or self._count)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Patient:
    """A visitor's socket for one answer. What its visitor does not read in `seconds` is its `rest`.

    Only the last piece can be left: for each one that follows a thread waits as it always did.
    """

    def __init__(self, sock: socket.socket, seconds: float = THREAD_SECONDS) -> None:
        self._sock = sock
        self._seconds = seconds
        self.rest: Rest | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        if self.rest is not None:
            self._finish()
        try:
            done = self._sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            done = 0
        if done < len(data):
            self._leave(Rest(memoryview(data)[done:]))

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> None:
        if self.rest is not None:
            self._finish()
        if count is None:
            count = os.fstat(file.fileno()).st_size - offset
        try:
            rest = Rest.of_file(file, offset, count)
        except OSError:
            self._sock.sendfile(file, offset=offset, count=count)
            return
        self._sock.setblocking(False)
        try:
            self._leave(rest)
        finally:
            self._sock.setblocking(True)

    def _leave(self, rest: Rest) -> None:
        """What is not taken in the time that there is."""
        end = time.monotonic() + self._seconds
        self.rest = rest
        while not rest.send(self._sock):
            left = end - time.monotonic()
            if left <= 0:
                return
            self._writable(left)
        self.close()

    def _finish(self) -> None:
        """All of the piece before, as long as any of it is read. Raises OSError."""
        rest = self.rest
        assert rest is not None
        self._sock.setblocking(False)
        try:
            while not rest.send(self._sock):
                if not self._writable(READ_SECONDS):
                    raise ConnectionResetError(errno.ECONNRESET, "nobody reads")
        finally:
            self._sock.setblocking(True)
        self.close()

    def _writable(self, seconds: float) -> bool:
        waiting = select.poll()
        waiting.register(self._sock, select.POLLOUT)
        return bool(waiting.poll(seconds * 1000))

    def close(self) -> None:
        """Forget what was to be sent."""
        if self.rest is not None:
            self.rest.close()
            self.rest = None
