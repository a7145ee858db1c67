"""A WebP whose chunks never end is left after a bounded number of reads."""

import io
import struct

from iiif_proxy.imaging import webp


class Counting(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def with_exif_after(chunks: int, said: int = 6) -> Counting:
    head = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + b"\x08\0\0\0\x0f\0\0\x0f\0\0"
    exif = b"EXIF" + struct.pack("<I", said) + b"Exif\0\0"
    return Counting(head + b"JUNK\0\0\0\0" * chunks + exif)


def test_chunks_without_end_are_not_followed() -> None:
    file = with_exif_after(1_000_000)
    assert webp.read_header(file).exif == b""
    assert file.reads < 30_000


def test_exif_behind_the_frames_of_an_animation_is_found() -> None:
    assert webp.read_header(with_exif_after(5_000)).exif == b"Exif\0\0"


def test_no_more_exif_is_read_than_any_has() -> None:
    file = with_exif_after(1, said=64 << 20)
    file.seek(0, io.SEEK_END)
    file.write(b"\0" * (8 << 20))
    file.seek(0)
    assert len(webp.read_header(file).exif) <= 4 << 20
