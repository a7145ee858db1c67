"""Which directories of a TIFF are pages, and which are the smaller copies of one."""

from collections.abc import Iterator

from iiif_proxy.imaging.tifflevel import (
    OLD_SUBFILE,
    SUB_IFDS,
    SUBFILE,
    WIDTH,
    Level,
    parse_level,
)
from iiif_proxy.imaging.tifftags import Directory, Structure, broken

# Levels of one page, and directories passed over on its way: nobody has a hundred.
MAX_LEVELS = 64


def pages_of(structure: Structure) -> Iterator[tuple[Directory, tuple[Level, ...], int]]:
    """Each page's directory with its levels, finest first: those that follow it in the chain or
    hang below it; and its place in the chain, from 0. Reads no further than the page that is asked
    for needs.
    """
    directory: Directory | None = None
    levels: list[Level] = []
    started, passed, index = False, 0, 0
    for place, following in enumerate(structure.chain()):
        level = parse_level(following)
        kind = following.number(SUBFILE, 0) | (following.number(OLD_SUBFILE, 1) == 2)
        if directory is not None and _smaller(levels, level, flagged=bool(kind & 1)):
            levels.append(level)
            passed += 1
        elif kind & 4 or (kind & 1 and started):  # a mask, or a thumbnail of another shape
            passed += 1
        else:
            if directory is not None:
                yield directory, tuple(levels), index
            directory, levels = following, [level, *_levels_below(structure, following, level)]
            started, passed, index = True, 0, place
            if len(levels) > 1:
                # With its levels below it a page is whole: no need to read the chain any further.
                yield directory, tuple(levels), index
                directory = None
        if passed > MAX_LEVELS:
            raise broken("far too many small copies of one page")
    if directory is not None:
        yield directory, tuple(levels), index


def _levels_below(structure: Structure, directory: Directory, first: Level) -> list[Level]:
    offsets = list(directory.numbers(SUB_IFDS, MAX_LEVELS))
    if not offsets:
        return []
    structure.prefetch(offsets)
    directories = [structure.directory(offset) for offset in offsets]
    levels = [parse_level(d) for d in directories if WIDTH in d.entries]
    levels.sort(key=lambda level: -level.width)
    found = [first]
    for level in levels:
        if _smaller(found, level, flagged=True):
            found.append(level)
    return found[1:]


def _smaller(levels: list[Level], level: Level, flagged: bool) -> bool:
    """Whether a directory is the next level of a page.

    It is if it says so and has the page's shape (labels and maps of slides have not), or, as some
    writers say nothing, if it is the exact half, rounded up or down, of the level before.
    """
    first, last = levels[0], levels[-1]
    if level.alike != first.alike or level.width >= last.width:
        return False
    if flagged:
        skew = abs(first.width * level.height - first.height * level.width)
        return level.height <= last.height and skew <= first.width + first.height
    return all(
        whole // 2 <= part <= -(-whole // 2)
        for whole, part in ((last.width, level.width), (last.height, level.height))
    )
