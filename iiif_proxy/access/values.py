"""What a value in the policy file may be. Each raises ValueError with what would be right."""

import re
from collections.abc import Callable
from typing import Any

from iiif_proxy.values import rate as parsed_rate
from iiif_proxy.values import seconds

Check = Callable[[Any], Any]
ALGORITHMS = frozenset({f"{kind}{bits}" for kind in ("HS", "RS", "ES") for bits in (256, 384, 512)})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return check


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 10**15:
        raise ValueError("a whole number from 1")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def words(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(x, str) for x in found):
        raise ValueError("a text or a list of texts")
    return tuple(found)


def duration(value: Any) -> float:
    """Seconds, of `30d`, `12h` or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    found = seconds(value) if isinstance(value, str) else 0.0
    if not found:
        raise ValueError("a time such as 30d, 12h or 90s")
    return found


def rate(value: Any) -> str:
    """As the setting has it."""
    found = parsed_rate(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("a rate such as 60/minute, 1000/hour or 5/10 seconds")
    return found


def header(value: Any) -> str:
    if not isinstance(value, str) or not HEADER.fullmatch(value):
        raise ValueError("the name of a header such as X-Api-Key")
    return value


def environ_key(value: Any) -> str:
    """Not what visitors write: a header is believed from trusted peers only."""
    if not isinstance(value, str) or not value or value.startswith(("HTTP_", "QUERY_STRING")):
        raise ValueError("a key of the WSGI environ that no visitor can set (no HTTP_…)")
    return value


def algorithms(value: Any) -> tuple[str, ...]:
    """Of one kind: a public key must never be taken for a shared secret."""
    found = words(value)
    shared = {name.startswith("HS") for name in found}
    if not set(found) <= ALGORITHMS or len(shared) > 1:
        raise ValueError(f"some of {', '.join(sorted(ALGORITHMS))}, HS… not beside others")
    return found


def classes(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(x, str) for x in value.values()):
        raise ValueError("a table of names and classes")
    return value
