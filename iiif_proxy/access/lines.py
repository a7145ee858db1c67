"""Where in a TOML file a key stands: tomllib does not tell."""

import re

HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[^=\s.]+)*)\s*=""")


def line_of(text: str, *path: str | int) -> int | None:
    """The line, from 1, of the longest beginning of a path; numbers count tables of an array."""
    best: tuple[int, int] | None = None
    table: list[str | int] = []
    arrays: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = HEADER.match(line)
        if header:
            table = list(_names(header[2]))
            if header[1] == "[[":
                arrays[header[2]] = arrays.get(header[2], -1) + 1
            if table and str(table[0]) in arrays:
                table.insert(1, arrays[str(table[0])])
            here = table
        elif key := KEY.match(line):
            here = [*table, *_names(key[1])]
        else:
            continue
        same = 0
        while same < min(len(here), len(path)) and here[same] == path[same]:
            same += 1
        if same in {len(here), len(path)} and (best is None or same > best[0]):
            best = same, number
    return best[1] if best else None


def _names(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]
