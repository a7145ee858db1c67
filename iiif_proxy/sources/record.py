"""What is remembered of a source, apart from its bytes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from iiif_proxy.sources.base import Conditions, LocalFile, entity_tag, length_of
from iiif_proxy.sources.freshness import SAYING, Freshness, freshness, http_date

# Last-Modified has whole seconds: a file that was changed within this time of the answer may
# change again under the same date (RFC 9110, 8.8.2.2).
YOUNG = 2.0
# No origin fails for so long that what is stale is shown still.
ALWAYS = 1.0


@dataclass(frozen=True, slots=True)
class Record:
    """One source at one state. Times are seconds since the epoch.

    `name` is the record's own, for the identifier and all URLs that may answer for it.
    `fingerprint` changes whenever the image may have; it is "" where only the whole content
    tells. `bytes_id` names the stored bytes ("" for a file of this machine, whose `path` and
    `stamp` are set). `etag` and `last_modified` are validators that may be trusted, `modified` is
    for show. `stated` is the lifetime by the origin's word, `lifetime` the one that counts: it is
    shorter while the origin fails (`failing_since`). `parts`: the file is read by parts and not
    kept; its address and the headers that HttpSource.ranges wants. `info` is what the header
    says, as JSON values.
    """

    identifier: str
    url: str
    template: int
    fingerprint: str
    bytes_id: str
    size: int
    etag: str | None
    last_modified: str | None
    modified: float | None
    checked: float
    lifetime: float
    strict: bool
    keep: bool
    name: str = ""
    stated: float = 0.0
    path: str = ""
    stamp: str = ""
    parts: Mapping[str, str] | None = None
    failing_since: float = 0.0
    info: Mapping[str, Any] | None = None

    @property
    def fresh_until(self) -> float:
        return self.checked + self.lifetime

    @property
    def named(self) -> bool:
        """Whether the origin's validators name the content, so that it need not be read for it."""
        return bool(self.etag or self.last_modified)

    def conditions(self) -> Conditions | None:
        return Conditions(self.etag, self.last_modified) if self.named else None

    def is_another(self, made: "Record") -> bool:
        """Whether a new answer's validators say that this one's image is no more."""
        same = {made.fingerprint, made.fingerprint_by_parts}
        return made.named and self.fingerprint not in same

    def by_parts(self, parts: Mapping[str, str], info: Mapping[str, Any]) -> "Record":
        """Of a file that is not fetched."""
        return replace(self, parts=parts, info=info, fingerprint=self.fingerprint_by_parts)

    @property
    def fingerprint_by_parts(self) -> str:
        """Another one: who has the parts open must not take them for the file, should that be
        fetched one day."""
        return hashed(self.fingerprint, "parts")

    def confirmed(self, headers: Mapping[str, str], now: float, default: float) -> "Record":
        """After a 304. What it does not say about freshness is still as it was said."""
        fresh = Freshness(self.keep, self.stated, self.strict)
        if any(name in headers for name in SAYING):
            fresh = freshness(headers, now, default)
        return replace(
            self,
            checked=now,
            lifetime=fresh.lifetime,
            stated=fresh.lifetime,
            strict=fresh.strict,
            keep=fresh.keep,
            failing_since=0.0,
        )

    def failing(self, now: float, pause: float) -> "Record":
        """While the origin fails: good for the pause."""
        since = self.failing_since or self.fresh_until
        return replace(self, checked=now, lifetime=pause, failing_since=since)

    def outdated(self, asked: float) -> "Record":
        """What was true when the origin was asked, but may be no more: never shown stale."""
        return replace(self, checked=asked, lifetime=0.0, failing_since=ALWAYS)

    def named_by(self, content: str) -> "Record":
        """Where validators do not name the content, a digest of it does."""
        return replace(self, fingerprint=hashed(self.url, "content", content))

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass")


def from_json(raw: bytes) -> Record | None:
    """None for what is no record of this version."""
    try:
        return Record(**json.loads(raw.decode("utf-8", "surrogatepass")))
    except (ValueError, TypeError):
        return None


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_answer(
    name: str,
    identifier: str,
    template: int,
    url: str,
    headers: Mapping[str, str],
    fresh: Freshness,
    now: float,
    bytes_id: str,
) -> Record:
    """The record of a 200, named by its validators, if they do name it."""
    etag = entity_tag(headers)
    last_modified = headers.get("last-modified")
    modified = http_date(last_modified)
    # By the origin's own clock.
    date = http_date(headers.get("date")) or now
    if modified is None or not date - modified > YOUNG:
        last_modified = None
    length = length_of(headers)
    state = etag or last_modified
    return Record(
        name=name,
        identifier=identifier,
        url=url,
        template=template,
        fingerprint=hashed(url, state, str(length)) if state else "",
        bytes_id=bytes_id,
        size=length or 0,
        etag=etag,
        last_modified=last_modified,
        modified=modified,
        checked=now,
        lifetime=fresh.lifetime,
        stated=fresh.lifetime,
        strict=fresh.strict,
        keep=fresh.keep,
    )


def of_file(identifier: str, template: int, url: str, file: LocalFile, now: float) -> Record:
    """A file of this machine is looked at each time, so it is never fresh for longer than now."""
    fingerprint = hashed(url, file.stamp)
    return Record(
        name=fingerprint,
        identifier=identifier,
        url=url,
        template=template,
        fingerprint=fingerprint,
        bytes_id="",
        size=file.size,
        etag=None,
        last_modified=None,
        modified=file.modified,
        checked=now,
        lifetime=0.0,
        stated=0.0,
        strict=True,
        keep=True,
        path=file.path,
        stamp=file.stamp,
    )
