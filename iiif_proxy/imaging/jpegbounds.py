"""What a JPEG may cost before, and beside, its pixels: metadata and scans."""

from typing import IO, Any

# A picture has ten scans, a squeezed one a hundred. Each costs a pass over all coefficients,
# however empty: 20,000 of them in 300 KB held a processor for 6.4 s at 4 MP. libjpeg-turbo's own
# fuzzers stop here too.
MOST_SCANS = 500
# Pillow joins the pieces of EXIF one by one, in quadratic time: 39 MB took 12 s.
MOST_EXIF = 4 << 20
MOST_HEADER = 64 << 20
# By which a header is read; also the bytes of junk between segments, which are read one by one.
MOST_READS = 100_000
_SCAN = b"\xff\xda"


class Header:
    """A file for as long as Pillow reads a JPEG's header: SyntaxError for one without measure.

    Afterwards `repeats` says whether more than one scan may follow: the frame is progressive, or
    its first scan (the last that was read) has not all components.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._exif = self._bytes = self._reads = 0
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._last = self.file.read(size)
        self._reads += 1
        self._bytes += len(data)
        if data.startswith(b"Exif\0\0"):
            self._exif += len(data)
        if self._exif > MOST_EXIF or self._bytes > MOST_HEADER or self._reads > MOST_READS:
            raise SyntaxError("a JPEG whose header does not end")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def repeats(self, components: int, progressive: bool) -> bool:
        return progressive or self._last[:1] != bytes((components,))


class Scans:
    """Counts the scans of a file while it is read to be decoded."""

    def __init__(self, begin: int = 0) -> None:
        """`begin`: where the first scan's coded pixels do, behind all thumbnails in metadata."""
        self._begin = begin
        self._found = 1

    def see(self, at: int, data: bytes) -> None:
        """SyntaxError before a decoder sees data (that stand at `at`) with one scan too many.

        In coded pixels FF DA cannot occur. (A marker that two reads share is not counted.)
        """
        self._found += data.count(_SCAN, max(0, self._begin - at))
        if self._found > MOST_SCANS:
            raise SyntaxError("a JPEG of far too many scans")


def bounded(image: Any) -> Scans | None:
    """What counts the scans of an opened image; None where that need not be."""
    found = getattr(image, "scans", None)
    return found() if callable(found) else None
