"""Images that nobody draws: made by code, each with what is wrong with it."""

from iiif_proxy.imaging.jpegwalk import segment


def jpeg_of_scans(count: int, side: int = 2000, colour: bool = False) -> bytes:
    """A progressive JPEG of one value, with so many scans of which all but the first are empty."""
    ids = (1, 2, 3) if colour else (1,)
    frame = b"\x08" + side.to_bytes(2, "big") * 2 + bytes((len(ids),))
    frame += b"".join(bytes((i, 0x11, 0)) for i in ids)
    blocks = (-(-side // 8)) ** 2
    direct = b"\0" + bytes((0, 2, *[0] * 14)) + b"\0\x06"  # 00: no difference; 01: 6 bits of it
    runs = b"\x10" + bytes((1, *[0] * 15)) + b"\xe0"  # 0: 2**14 + 14 bits of blocks have no more
    # The first block of luma differs by -51 (quantised by 8: 8 * -51 / 8 + 128 = 77), no other.
    first = "01" + format(63 - 51, "06b") + "00" * (len(ids) - 1)
    bits = first + "00" * (len(ids) * (blocks - 1))
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\x08" * 64),
            segment(0xC2, frame),
            segment(0xC4, direct),
            segment(0xC4, runs),
            segment(0xDA, bytes((len(ids),)) + b"".join(bytes((i, 0)) for i in ids) + b"\0\0\0"),
            packed(bits),
            (segment(0xDA, b"\x01\x01\0\x01\x3f\0") + bytes(-(-blocks // 16384) * 15 // 8 + 1))
            * (count - 1),
            b"\xff\xd9",
        )
    )


def packed(bits: str) -> bytes:
    """Coded pixels: filled up with ones, FF stuffed."""
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
