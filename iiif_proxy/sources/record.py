"""What is remembered of a source, apart from its bytes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from iiif_proxy.sources.base import Conditions, LocalFile
from iiif_proxy.sources.freshness import Freshness, http_date

# Last-Modified has whole seconds: a file that was changed within this time of the answer may
# change again under the same date (RFC 9110, 8.8.2.2).
YOUNG = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """One source at one state. Times are seconds since the epoch.

    `fingerprint` changes whenever the image may have. `bytes_id` names the stored bytes ("" for a
    file of this machine, whose `path` and `stamp` are set). `parts`: the file is read by parts and
    not kept; its address and the headers that HttpSource.ranges wants. `info` is what the header
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
    path: str = ""
    stamp: str = ""
    parts: Mapping[str, str] | None = None
    failing_since: float = 0.0
    info: Mapping[str, Any] | None = None

    @property
    def fresh_until(self) -> float:
        return self.checked + self.lifetime

    def conditions(self) -> Conditions | None:
        """The validators that may be trusted: a date alone only when it was not young."""
        if self.etag:
            return Conditions(self.etag, self.last_modified)
        if self.modified is not None and self.checked - self.modified > YOUNG:
            return Conditions(None, self.last_modified)
        return None

    def renewed(self, now: float, fresh: Freshness) -> "Record":
        return replace(
            self,
            checked=now,
            lifetime=fresh.lifetime,
            strict=fresh.strict,
            keep=fresh.keep,
        )

    def named_by(self, content: str) -> "Record":
        """Where the validators do not name the content, a digest of it does."""
        return replace(self, fingerprint=hashed(self.fingerprint, content))

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass")


def from_json(raw: bytes) -> Record | None:
    """None for what is no record of this version."""
    try:
        return Record(**json.loads(raw))
    except (ValueError, TypeError):
        return None


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def known_early(headers: Mapping[str, str], now: float) -> bool:
    """Whether the origin's validators name the content well enough without reading it."""
    if headers.get("etag"):
        return True
    modified = http_date(headers.get("last-modified"))
    return modified is not None and (http_date(headers.get("date")) or now) - modified > YOUNG


def of_answer(
    identifier: str,
    template: int,
    url: str,
    headers: Mapping[str, str],
    fresh: Freshness,
    now: float,
    bytes_id: str,
) -> Record:
    """The record of a 200, named by its validators."""
    etag, last_modified = (
        headers.get("etag") or None,
        headers.get("last-modified") or None,
    )
    length = headers.get("content-length", "")
    return Record(
        identifier=identifier,
        url=url,
        template=template,
        fingerprint=hashed(url, etag or "", last_modified or "", length),
        bytes_id=bytes_id,
        size=int(length) if length.isdigit() and len(length) < 16 else 0,
        etag=etag,
        last_modified=last_modified,
        modified=http_date(last_modified),
        checked=now,
        lifetime=fresh.lifetime,
        strict=fresh.strict,
        keep=fresh.keep,
    )


def of_file(identifier: str, template: int, url: str, file: LocalFile, now: float) -> Record:
    """A file of this machine is looked at each time, so it is never fresh for longer than now."""
    return Record(
        identifier=identifier,
        url=url,
        template=template,
        fingerprint=hashed(url, file.stamp),
        bytes_id="",
        size=file.size,
        etag=None,
        last_modified=None,
        modified=file.modified,
        checked=now,
        lifetime=0.0,
        strict=True,
        keep=True,
        path=file.path,
        stamp=file.stamp,
    )
