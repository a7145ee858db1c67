"""One tile as a TIFF of one strip, in memory: libtiff then undoes compression, predictor and byte
order exactly as in the whole file, and no reader has to be told of the other tiles.
"""

import struct

from iiif_proxy.imaging import jpegtile

_TYPES = {"B": 7, "H": 3, "I": 4}


def strip_file(
    data: bytes,
    width: int,
    rows: int,
    *,
    order: str = "<",
    samples: int = 1,
    bits: int = 8,
    compression: int = 1,
    photometric: int = 1,
    predictor: int = 1,
    extra: tuple[int, ...] = (),
    tables: bytes = b"",
    subsampling: tuple[int, int] = (2, 2),
) -> bytes:
    """A whole file around stored bytes; a tile and a strip of its size are stored alike (10 us).

    `order` is the struct byte order of the samples, `tables` are JPEGTables without SOI and EOI.
    """
    fields: list[tuple[int, str, tuple[int, ...] | bytes]] = [
        (256, "I", (width,)),
        (257, "I", (rows,)),
        (258, "H", (bits,) * samples),
        (259, "H", (compression,)),
        (262, "H", (photometric,)),
        (273, "I", (0,)),
        (277, "H", (samples,)),
        (278, "I", (rows,)),
        (279, "I", (len(data),)),
        (284, "H", (1,)),
        (317, "H", (predictor,)),
    ]
    if extra:
        fields.append((338, "H", extra))
    if tables:
        fields.append((347, "B", jpegtile.SOI + tables + jpegtile.EOI))
    if photometric == 6:
        fields.append((530, "H", subsampling))
    values = [
        value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{code}", *value)
        for _, code, value in fields
    ]
    start = 8 + 2 + 12 * len(fields) + 4
    pixels = start + sum(len(value) for value in values if len(value) > 4)
    entries, longer = [], b""
    for (tag, code, parts), value in zip(fields, values, strict=True):
        field = value
        if tag == 273:
            field = struct.pack(order + "I", pixels)
        elif len(value) > 4:
            field = struct.pack(order + "I", start + len(longer))
            longer += value
        entries.append(struct.pack(order + "HHI4s", tag, _TYPES[code], len(parts), field))
    mark = b"II" if order == "<" else b"MM"
    header = mark + struct.pack(order + "HIH", 42, 8, len(fields))
    return b"".join([header, *entries, bytes(4), longer, data])
