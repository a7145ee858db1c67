"""One resolution of a page of a TIFF: how its pixels are cut, packed and where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from iiif_proxy.imaging.tifftags import Array, Directory, broken
from iiif_proxy.ranges import BlockCache, Span, coalesce

# Tags
SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT = 254, 255, 256, 257
BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 284, 317, 322, 323, 324, 325
SUB_IFDS, EXTRA_SAMPLES, SAMPLE_FORMAT, JPEG_TABLES, SUBSAMPLING = 330, 338, 339, 347, 530
ICC_PROFILE = 34675

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773

MAX_SIDE = 1 << 24
# A tile is decoded whole: what is larger is not worth the name, and is a bomb to a reader.
MAX_TILE_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class Level:
    """One directory, as far as pixels go.

    Strips are tiles as wide as the image (`tiled` is False then, and the last one has only the
    rows that are left). `tables` are the JPEGTables without SOI and EOI. `offsets` and `counts`
    stay in the file; `locate` reads the slices that are needed.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    tiled: bool
    compression: int
    photometric: int
    samples: int
    bits: int
    sample_format: int
    planar: bool
    predictor: int
    fill_order: int
    extra: tuple[int, ...]
    subsampling: tuple[int, int]
    tables: bytes
    order: str
    cache: BlockCache
    offsets: Array | None
    counts: Array | None

    @property
    def across(self) -> int:
        return -(-self.width // self.tile_width)

    @property
    def down(self) -> int:
        return -(-self.height // self.tile_height)

    @property
    def complete(self) -> bool:
        """The directory says where every tile is, and no tile is absurdly large."""
        planes = self.samples if self.planar else 1
        tiles = self.across * self.down * planes
        return (
            self.offsets is not None
            and self.counts is not None
            and min(self.offsets.count, self.counts.count) >= tiles
            and self.tile_width * self.tile_height <= MAX_TILE_PIXELS
            and (not self.tiled or min(self.tile_width, self.tile_height) >= 16)
        )

    @property
    def alpha(self) -> bool:
        """A sample says how opaque a pixel is (a fourth RGB sample does unless it is denied)."""
        unsaid = self.photometric == 2 and self.samples == 4 and not self.extra
        return unsaid or any(kind in (1, 2) for kind in self.extra[:1])

    @property
    def alike(self) -> tuple[object, ...]:
        """What two levels of one page have in common."""
        return self.photometric in (2, 6), self.samples, self.bits

    def rows_of(self, row: int) -> int:
        """How many pixel rows the tiles of that row hold."""
        if self.tiled:
            return self.tile_height
        return min(self.tile_height, self.height - row * self.tile_height)

    def locate(self, rows: Sequence[int], columns: Sequence[int]) -> list[list[Span]]:
        """For each tile of the grid rows x columns, row by row: a span per plane.

        A span of size 0 is a tile that was never written. OriginFailed for spans that
        cannot be.
        """
        assert self.offsets is not None
        assert self.counts is not None
        whole = self.across * self.down
        planes = self.samples if self.planar else 1
        slices = [
            (plane * whole + row * self.across + columns[0], len(columns))
            for row in rows
            for plane in range(planes)
        ]
        arrays = (self.offsets, self.counts)
        spans = [a.span(start, start + count) for a in arrays for start, count in slices]
        # Both lists in one round trip when their slices are not here yet.
        self.cache.read_many(coalesce((span for span in spans if span is not None), 4096))
        located: list[list[Span]] = []
        for i in range(0, len(slices), planes):
            per_plane = [
                list(
                    zip(
                        self.offsets.take(start, start + count),
                        self.counts.take(start, start + count),
                        strict=True,
                    )
                )
                for start, count in slices[i : i + planes]
            ]
            located += [list(tile) for tile in zip(*per_plane, strict=True)]
        most = 2 * self.tile_width * self.tile_height * self.samples * max(8, self.bits) // 8
        size = self.cache.size
        for tile in located:
            for offset, count in tile:
                if count > most + 65536 or (size is not None and count and offset + count > size):
                    raise broken(f"a tile of {count} bytes at {offset}")
        return located


def parse_level(directory: Directory) -> Level:
    """The level a directory describes. OriginFailed for sizes no image has."""
    number = directory.number
    width, height = number(WIDTH, 0), number(HEIGHT, 0)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise broken(f"an image of {width} x {height}")
    tiled = TILE_WIDTH in directory.entries
    if tiled:
        tile_width, tile_height = number(TILE_WIDTH, 0), number(TILE_HEIGHT, 0)
        offsets, counts = directory.array(TILE_OFFSETS), directory.array(TILE_COUNTS)
        # libtiff, and so everybody, reads the strip tags for tiles where these are missing.
        offsets = offsets or directory.array(STRIP_OFFSETS)
        counts = counts or directory.array(STRIP_COUNTS)
    else:
        tile_width, tile_height = width, min(height, number(ROWS_PER_STRIP, height))
        offsets, counts = directory.array(STRIP_OFFSETS), directory.array(STRIP_COUNTS)
    if not (0 < tile_width <= MAX_SIDE and 0 < tile_height <= MAX_SIDE):
        raise broken(f"tiles of {tile_width} x {tile_height}")
    bits = directory.numbers(BITS, 1024) or (1,)
    formats = directory.numbers(SAMPLE_FORMAT, 1024) or (1,)
    subsampling = directory.numbers(SUBSAMPLING, 2)
    tables = directory.data(JPEG_TABLES, 1 << 14) or b""
    return Level(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        tiled=tiled,
        compression=number(COMPRESSION, NONE),
        photometric=number(PHOTOMETRIC, 1),
        samples=number(SAMPLES, 1),
        # Samples of different depth exist on paper only; 0 is decoded by nothing here.
        bits=bits[0] if len(set(bits)) == 1 else 0,
        sample_format=formats[0] if len(set(formats)) == 1 else 0,
        planar=number(PLANAR, 1) == 2 and number(SAMPLES, 1) > 1,
        predictor=number(PREDICTOR, 1),
        fill_order=number(FILL_ORDER, 1),
        extra=directory.numbers(EXTRA_SAMPLES, 1024),
        subsampling=(subsampling[0], subsampling[1]) if len(subsampling) == 2 else (2, 2),
        tables=tables.removeprefix(b"\xff\xd8").removesuffix(b"\xff\xd9"),
        order=directory.order,
        cache=directory.cache,
        offsets=offsets,
        counts=counts,
    )
