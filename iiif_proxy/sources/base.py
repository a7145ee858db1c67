"""What every kind of source has: a template that an identifier fills, and an answer."""

import functools
import os
import re
import weakref
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
from iiif_proxy.sources.freshness import http_date

REQUEST_ID = "HTTP_X_REQUEST_ID"
# What a visitor said of itself, by WSGI name: there only when the origin has allowed it this image
# (access/asking.py), so that the origin gives it. What is kept is shown after such a verdict only.
CREDENTIALS = "iiif_proxy.credentials"
Environ = dict[str, Any]

# What stays as it is in a path: everything RFC 3986 allows in one, so that `ark:/1/2` is asked
# for as `ark:/1/2`. In a query `/` is kept too, but nothing that would begin another parameter.
IN_PATH = "/:@!$'()*,;=~"
IN_QUERY = "/:,~"
# One entity tag, also without its quotes; not two of them.
ETAG = re.compile(r'(?:W/)?"[!#-~\x80-\xff]{0,1000}"|[!#-+\--~]{1,1000}')
# What may be handed on in a header: no control character, so no other header.
PRINTABLE = re.compile(r"[\t -~\x80-\xff]{1,4096}")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The validators of what is held already, as the origin wrote them."""

    etag: str | None
    last_modified: str | None

    def headers(self) -> dict[str, str]:
        pairs = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in pairs.items() if value}


@dataclass(slots=True)
class Answer:
    """What a source says: `modified` False is a 304; `chunks` are the bytes as they come.

    Header names are lower case. Whoever takes an Answer closes it, in the thread that asked.
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
        """None: this source does not have it (404, 410). Raises ProxyError for all other faults,
        also while `chunks` are read."""


@functools.lru_cache(1024)
def fill(template: str, identifier: str) -> str:
    """Put the identifier into the template, percent-encoded for where it stands.

    A question mark in the template's fixed text begins the query. (An identifier cannot reach
    scheme, host or port: it is encoded, and settings refuse `{id}` there.)
    """
    refuse_dots(identifier)
    path, mark, query = template.partition("?")
    return (
        path.replace("{id}", quote(identifier, safe=IN_PATH))
        + mark
        + query.replace("{id}", quote(identifier, safe=IN_QUERY))
    )


def refuse_dots(identifier: str) -> None:
    """An identifier never leaves the template's folder.

    Nor where the origin takes a segment's parameters off first: to Java's servers `..;` is `..`.
    """
    if any(part.partition(";")[0] in {".", ".."} for part in re.split(r"[/\\]", identifier)):
        raise InvalidRequest("The identifier must not contain the path segments . or ..")


def judge(status: int, headers: Mapping[str, str], where: str) -> bool:
    """Sort the origin's status: True is an image to read, False "I do not have it".

    Raises the contract's error for everything else. 304 is True as well.
    """
    if status in {200, 203, 304}:
        return True
    if status in {404, 410}:
        return False
    if status == 401:
        asked = headers.get("www-authenticate", "")
        kept = {"WWW-Authenticate": asked} if PRINTABLE.fullmatch(asked) else {}
        raise NotAuthenticated("The origin asks who you are for this image.", where, kept)
    if status == 403:
        raise NotAllowed("The origin does not allow access to this image.", where)
    if status == 429:
        after = headers.get("retry-after", "")
        if not re.fullmatch("[0-9]{1,6}", after) and (
            http_date(after) is None or not PRINTABLE.fullmatch(after)
        ):
            after = "10"
        kept = {"Retry-After": after}
        raise TooManyRequests("The origin asks for fewer requests at the moment.", where, kept)
    raise OriginFailed(
        f"The origin answered with status {status} where an image was expected.", where
    )


def personal(headers: Mapping[str, str], environ: Environ) -> Mapping[str, str]:
    """An answer to a visitor's own credentials: what is private to it may be kept, for nobody is
    shown it unasked; parts could not be asked for later, without the credentials."""
    if not environ.get(CREDENTIALS):
        return headers
    said = [part.strip() for part in headers.get("cache-control", "").split(",")]
    kept = ", ".join(part for part in said if part and not part.lower().startswith("private"))
    found = {name: value for name, value in headers.items() if name != "accept-ranges"}
    return {**found, "cache-control": kept} if "cache-control" in headers else found


def entity_tag(headers: Mapping[str, str]) -> str | None:
    """The ETag, if it is one that can be sent back."""
    text = headers.get("etag", "")
    return text if ETAG.fullmatch(text) else None


def length_of(headers: Mapping[str, str]) -> int | None:
    """Content-Length, if it is a number."""
    text = headers.get("content-length", "")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def not_found(identifier: str) -> NotFound:
    return NotFound("No source has an image with this identifier.", identifier)


class Forkable(Protocol):
    """What holds locks, threads or sockets, which do not survive a fork."""

    def after_fork(self) -> None: ...


_forkable: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def mind_forks(thing: Forkable) -> None:
    """Call its `after_fork` in every child process."""
    _forkable.add(thing)


def _after_fork() -> None:
    for thing in list(_forkable):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)
