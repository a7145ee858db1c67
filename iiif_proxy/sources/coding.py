"""Bodies that an origin compressed although it was asked not to."""

import zlib
from collections.abc import Iterator

from iiif_proxy.errors import OriginFailed

# At most so much comes out at a time: 256 KB of a bomb are 256 MB.
STEP = 256 * 1024
AUTOMATIC = zlib.MAX_WBITS | 32  # gzip or zlib, by its first bytes
MEMBER = b"\x1f"  # gzip may go on with another one


def decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks without their Content-Encoding. Raises OriginFailed."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return chunks
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _inflated(chunks)
    raise OriginFailed("The origin sent this image in an unknown encoding.", encoding)


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(AUTOMATIC)
    begun = False
    try:
        for rest in chunks:
            while rest:
                if inflate.eof:
                    if not rest.startswith(MEMBER):
                        break  # padding
                    inflate = zlib.decompressobj(AUTOMATIC)
                begun = True
                data = inflate.decompress(rest, STEP)
                if data:
                    yield data
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        while data := inflate.decompress(b"", STEP):
            yield data
    except zlib.error as cause:
        raise OriginFailed("The origin sent a broken compressed image.", str(cause)) from cause
    if begun and not inflate.eof:
        raise OriginFailed("The origin broke off in the middle of this image.", "compressed")
