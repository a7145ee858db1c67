"""What every kind of source has: a template that an identifier fills, and an answer."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from iiif_proxy.errors import (
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OriginFailed,
    TooManyRequests,
)

Environ = dict[str, Any]

# What stays as it is in a path: everything RFC 3986 allows in one, so that `ark:/1/2` is asked
# for as `ark:/1/2`. In a query `/` is kept too, but nothing that would begin another parameter.
IN_PATH = "/:@!$'()*,;=~"
IN_QUERY = "/:,~"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The validators of what is held already, as the origin wrote them."""

    etag: str | None
    last_modified: str | None


@dataclass(slots=True)
class Answer:
    """What a source says: `modified` False is a 304; `chunks` are the bytes as they come.

    Header names are lower case. Whoever takes an Answer closes it.
    """

    modified: bool
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None]
    # Where it came from in the end, after redirects.
    url: str = ""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A source that is a file already; `stamp` changes whenever the file does."""

    path: str
    stamp: str
    modified: float
    size: int


class Source(Protocol):
    """One template. `threaded`: may be asked from another thread than the request's own."""

    threaded: bool

    def url(self, identifier: str, environ: Environ) -> str:
        """The filled template: with the identifier, what a fingerprint is taken over."""

    def ask(
        self, identifier: str, conditions: Conditions | None, environ: Environ
    ) -> Answer | LocalFile | None:
        """None: this source does not have it (404, 410). Raises ProxyError for all other faults."""


def fill(template: str, identifier: str) -> str:
    """Put the identifier into the template, percent-encoded for where it stands.

    A question mark in the template's fixed text begins the query. Dot segments are refused: an
    identifier never leaves the template's folder. (An identifier cannot reach scheme, host or
    port: it is encoded, and settings refuse `{id}` there.)
    """
    if any(part in {".", ".."} for part in re.split(r"[/\\]", identifier)):
        raise InvalidRequest("The identifier must not contain the path segments . or ..")
    path, mark, query = template.partition("?")
    return (
        path.replace("{id}", quote(identifier, safe=IN_PATH))
        + mark
        + query.replace("{id}", quote(identifier, safe=IN_QUERY))
    )


def judge(status: int, headers: Mapping[str, str], where: str) -> bool:
    """Sort the origin's status: True is an image to read, False "I do not have it".

    Raises the contract's error for everything else. 304 is True as well.
    """
    if status in {200, 203, 304}:
        return True
    if status in {404, 410}:
        return False
    if status == 401:
        kept = {k: v for k, v in headers.items() if k == "www-authenticate"}
        raise NotAuthenticated("The origin asks who you are for this image.", where, kept)
    if status == 403:
        raise NotAllowed("The origin does not allow access to this image.", where)
    if status == 429:
        kept = {"Retry-After": headers.get("retry-after", "10")}
        raise TooManyRequests("The origin asks for fewer requests at the moment.", where, kept)
    raise OriginFailed(
        f"The origin answered with status {status} where an image was expected.", where
    )


def not_found(identifier: str) -> NotFound:
    return NotFound("No source has an image with this identifier.", identifier)
