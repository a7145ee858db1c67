"""Spellings of identifiers: rules go by names, and origins may take several for the same file."""

import fnmatch
import re
import unicodedata
from urllib.parse import unquote

# So often an escape may have been escaped.
DEPTH = 4


def folded(name: str) -> str:
    """Without regard to case and to how accents are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def plain(identifier: str) -> str:
    """What a careless origin may make of an identifier: no escapes, doubled or outer slashes,
    backslashes, path parameters, or points and spaces at the end of a folder's name."""
    name = identifier
    for _ in range(DEPTH):
        decoded = unquote(name)
        if decoded == name:
            break
        name = decoded
    name = unicodedata.normalize("NFKC", name).replace("\\", "/")
    name = re.split("[?#]", name, maxsplit=1)[0]
    parts = (part.partition(";")[0].strip(" .") for part in name.split("/"))
    return "/".join(part for part in parts if part)


def pattern(text: str) -> re.Pattern[str]:
    """`*` is any text, slashes too; `?` one character; `[abc]` one of these. Case is the same."""
    return re.compile(fnmatch.translate(folded(text)))
