"""The Accept header (RFC 9110, 12.5.1), as far as info.json needs it: q-values and profiles."""

import re
from dataclasses import dataclass

# Anything up to the separator, quoted strings taken whole. Each character fits one branch only,
# so there is nothing to backtrack into.
_ITEM = re.compile(r'(?:[^,"]|"[^"]*"?)+')
_PARAMETER = re.compile(r'(?:[^;"]|"[^"]*"?)+')
_Q = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class Range:
    """One item of the header; `profiles` are the URIs of its profile parameter."""

    media_type: str
    q: float
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One form of an answer; `value` is its Content-Type.

    `explicit`: only for those who name the media type, wildcards do not count.
    """

    value: str
    media_type: str
    profile: str | None = None
    explicit: bool = False


def ranges(header: str) -> list[Range]:
    """The items in their order. A q that is none counts as 1."""
    found = []
    for item in _ITEM.findall(header):
        media_type, *parameters = _PARAMETER.findall(item) or [""]
        q, profiles = 1.0, ()
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            name, value = name.strip().lower(), value.strip()
            if name == "q" and _Q.fullmatch(value):
                q = float(value)
            elif name == "profile":
                profiles = tuple(value.strip('"').split())
        if media_type.strip():
            found.append(Range(media_type.strip().lower(), q, profiles))
    return found


def choose(header: str | None, offers: tuple[Offer, ...]) -> str:
    """The Content-Type that is liked best; the first offer among equals and if none is.

    Among equals a named media type counts more than a wildcard. A profile that is not the
    offer's is overlooked only when nothing else fits: a document is better than a refusal.
    """
    asked = ranges(header) if header else []
    for strict in (True, False):
        ranked = [(_rank(offer, asked, strict), offer) for offer in offers]
        best = max(rank for rank, _ in ranked)
        if best > (0.0, 0):
            return next(offer.value for rank, offer in ranked if rank == best)
    return offers[0].value


def _rank(offer: Offer, asked: list[Range], strict: bool) -> tuple[float, int]:
    """q and specificity of the most specific range that names the offer; (0, 0) if none does."""
    best = (-1, 0.0)
    for item in asked:
        if item.media_type == offer.media_type:
            specificity = 3 if item.profiles else 2
            if strict and item.profiles and offer.profile not in item.profiles:
                continue
        elif offer.explicit:
            continue
        elif item.media_type == offer.media_type.partition("/")[0] + "/*":
            specificity = 1
        elif item.media_type == "*/*":
            specificity = 0
        else:
            continue
        best = max(best, (specificity, item.q))
    specificity, q = best
    return (q, specificity) if q else (0.0, 0)
