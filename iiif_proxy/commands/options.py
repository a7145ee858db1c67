"""Arguments that several commands have, and what comes of them. Nothing heavy is imported."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path


def add_identifiers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "identifiers", nargs="*", metavar="ID", help="identifiers as they are, not encoded"
    )
    from_file = parser.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        help="read more identifiers from a file, one a line; - is standard input",
    )
    files(from_file)


def files(action: argparse.Action) -> None:
    """Let shells complete names of files: shtab, which makes their scripts, looks for this."""
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # type: ignore[attr-defined]


class Mistake(Exception):
    """In the arguments, found when the command runs: one sentence."""


def identifiers(given: argparse.Namespace) -> Iterator[str]:
    """Of the arguments, then of the file; empty lines and such as begin with # are left out.

    Raises Mistake.
    """
    if not given.identifiers and not given.file:
        raise Mistake("No identifier was named (ID or --from FILE).")
    yield from given.identifiers
    if given.file == "-":
        yield from _lines(sys.stdin.read())
    elif given.file:
        yield from _lines(Path(given.file).read_text("utf-8"))


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()
