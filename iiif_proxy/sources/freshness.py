"""How long an origin's answer may be believed: RFC 9111 as a shared cache reads it."""

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

LONGEST = 365 * 86400.0
# The headers that say anything about it.
SAYING = ("cache-control", "expires", "pragma")


@dataclass(frozen=True, slots=True)
class Freshness:
    """`keep`: may be stored at all; `lifetime` in seconds; `strict`: never served stale."""

    keep: bool
    lifetime: float
    strict: bool


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch, or None for what is no date."""
    if not text:
        return None
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date without a zone is GMT (RFC 9110, 5.6.7), not the time of this machine.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def freshness(headers: Mapping[str, str], now: float, default: float) -> Freshness:
    """Read Cache-Control, Expires, Age and Pragma; `default` seconds when they say nothing."""
    directives: dict[str, str] = {}
    for part in headers.get("cache-control", "").lower().split(","):
        name, _, value = part.strip().partition("=")
        directives.setdefault(name.strip(), value.strip().strip('"'))
    keep = not ({"no-store", "private"} & directives.keys())
    strict = bool({"must-revalidate", "proxy-revalidate", "s-maxage"} & directives.keys())
    if "no-cache" in directives:
        return Freshness(keep, 0.0, True)
    age = _whole(headers.get("age", "")) or 0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            seconds = _whole(directives[name])
            return Freshness(keep, _bounded((seconds or 0) - age), strict)
    if "expires" in headers:
        expires = http_date(headers["expires"])
        date = http_date(headers.get("date")) or now
        return Freshness(keep, _bounded(expires - date - age) if expires else 0.0, strict)
    if "cache-control" not in headers and "no-cache" in headers.get("pragma", "").lower():
        return Freshness(keep, 0.0, True)
    return Freshness(keep, _bounded(default), strict)


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST)
