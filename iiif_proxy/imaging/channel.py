"""Values, images and descriptors between two processes of ours, over a socket."""

import errno
import mmap
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from iiif_proxy.imaging.levels import mapped

MOST = 2
_LENGTH = struct.Struct("<Q")
# As they lie in memory (`levels.mapped`). The others go by their bytes.
_MAPPED = {"L": "L", "RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA"}


class Gone(Exception):
    """The other side has ended."""


class Late(Gone):
    """It has not answered in time."""


@dataclass(frozen=True, slots=True)
class _Pixels:
    mode: str
    size: tuple[int, int]
    profile: bytes | None


class Channel:
    """Of one socket, which it owns. An image that was RGBX arrives as RGB."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def close(self) -> None:
        self._socket.close()

    def send(self, value: Any, descriptors: Sequence[int] = ()) -> None:
        """A value that can be pickled, or an image; with a value up to two descriptors."""
        if isinstance(value, Image.Image):
            memory, value = _memory(value)
            try:
                self.send(value, [memory])
            finally:
                os.close(memory)
            return
        data = pickle.dumps(value)
        try:
            socket.send_fds(self._socket, [_LENGTH.pack(len(data))], descriptors)
            self._socket.sendall(data)
        except OSError as cause:
            raise Gone(str(cause)) from cause

    def receive(self, timeout: float | None = None) -> tuple[Any, list[int]]:
        """What was sent, and the descriptors with it, which are the caller's. Raises Gone, and
        OSError where there are none left for them."""
        self._socket.settimeout(timeout)
        try:
            head, descriptors, flags, _ = socket.recv_fds(self._socket, _LENGTH.size, MOST)
            data = self._exactly(*_LENGTH.unpack(head))
        except TimeoutError as cause:
            raise Late from cause
        except (OSError, EOFError, struct.error) as cause:
            raise Gone(str(cause)) from cause
        if flags & socket.MSG_CTRUNC:
            # They were sent, and this process may have no more. The other one is well.
            for descriptor in descriptors:
                os.close(descriptor)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        value = pickle.loads(data)
        if isinstance(value, _Pixels):
            return _image(value, *descriptors), []
        return value, descriptors

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            if not more:
                raise EOFError
            data += more
        return bytes(data)


def _memory(image: Image.Image) -> tuple[int, _Pixels]:
    """The image in memory of its own, and what it is."""
    mode = _MAPPED.get(image.mode)
    descriptor = os.memfd_create("iiif-proxy-pixels")
    try:
        if mode is None:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(image.tobytes())
        else:
            width, height = image.size
            os.ftruncate(descriptor, width * height * (1 if mode == "L" else 4))
            there = mapped(mmap.mmap(descriptor, 0), mode, image.size)
            # RGBX lies there as RGB: to convert it would be one copy more.
            there.im.paste(image.im, (0, 0, width, height))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, _Pixels(mode or image.mode, image.size, image.info.get("icc_profile"))


def _image(pixels: _Pixels, descriptor: int) -> Image.Image:
    try:
        memory = mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
    if pixels.mode in _MAPPED:
        image = mapped(memory, pixels.mode, pixels.size)
    else:
        with memory:
            image = Image.frombytes(pixels.mode, pixels.size, bytes(memory))
    if pixels.profile:
        image.info["icc_profile"] = pixels.profile
    return image
