"""Taking in what an origin sends: the header as soon as it has come, all of it or nothing."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from iiif_proxy.errors import OriginFailed, ProxyError, SourceChanged
from iiif_proxy.ranges import Parts
from iiif_proxy.sources.arrival import Arrival, SourceImage
from iiif_proxy.sources.base import Answer, Source, length_of
from iiif_proxy.sources.contents import Contents
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.sources.known import Known
from iiif_proxy.sources.ranges import HttpRanges
from iiif_proxy.sources.record import Record
from iiif_proxy.sources.remembered import Noting

log = logging.getLogger(__name__)

# Given the path of a whole or growing file: what its header says, or None for "not yet".
Probe = Callable[[str, bool], Mapping[str, Any] | None]
# Given the parts of a file and its fingerprint: what its header says, None if it is better whole.
ProbeParts = Callable[[Parts, str], Mapping[str, Any] | None]
FIRST_PROBE = 2048
TIFF_HEAD, HEAD = 16, 1 << 16
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Smaller files are fetched: that takes no longer than their directories.
PARTS_LEAST = 1 << 20


class Receiver:
    """Bodies become contents and records. `max_bytes` bounds what is fetched."""

    def __init__(
        self,
        known: Known,
        contents: Contents,
        probe: Probe,
        probe_parts: ProbeParts,
        max_bytes: int,
    ) -> None:
        self._known = known
        self._contents = contents
        self._probe = probe
        self._probe_parts = probe_parts
        self._max_bytes = max_bytes

    def receive(
        self,
        made: Record,
        source: Source,
        answer: Answer,
        arrival: Arrival,
        lost: bool,
        other: bool,
    ) -> SourceImage:
        """Take a 200's body in. `made` is its record by the headers; it is known to all, with the
        image's header in it, as early as that has come.

        If it fails nothing is left: neither that record nor, if it says that there is an `other`
        image now, the one before. `lost`: the bytes themselves are wanted.
        """
        # Without validators that name the content, the content itself must: known at the end.
        digest = None if made.named else hashlib.sha256()
        ranges = None if lost else self._ranges(made, source, answer)
        due = length_of(answer.headers)
        if ranges is None:
            self._bounded(due or 0)
        incoming = self._contents.incoming(made, arrival)
        look_at = FIRST_PROBE
        try:
            for chunk in answer.chunks:
                incoming.write(chunk)
                if digest:
                    digest.update(chunk)
                if ranges is not None and incoming.size >= TIFF_HEAD:
                    noting = Noting(ranges, incoming.held.read(0, HEAD))
                    by_parts = self._by_parts(made, ranges, answer, noting)
                    if by_parts is not None:
                        noted = noting.end()
                        kept = self._known.keep(
                            by_parts, arrival.since, None if other else arrival.show
                        )
                        self._contents.note(by_parts, noted)
                        return SourceImage(kept)
                    ranges = None
                    self._bounded(due or 0)
                self._bounded(incoming.size)
                if made.info is None and look_at <= incoming.size != due:
                    look_at = incoming.size * 4
                    made = replace(made, info=self._probe(incoming.held.path, False))
                    if made.info is not None:
                        if not other:  # Else nobody may see the one before after this one.
                            arrival.show(made, incoming.held)
                        if made.named:
                            # For the other processes, which then do not wait for the rest.
                            made = self._known.keep(made, arrival.since)
                        arrival.head(SourceImage(made, incoming.held))
                arrival.grown(incoming.size)
            info = made.info or self._probe(incoming.held.path, True)
            if info is None:
                raise OriginFailed("What the origin sent is no image that can be decoded.")
            made = replace(made, size=incoming.size, info=info)
            if digest:
                made = made.named_by(digest.hexdigest())
            self._contents.keep(made, incoming)
            return SourceImage(self._known.keep(made, arrival.since), incoming.held)
        except BaseException:
            if other or (made.info is not None and made.named):
                self._known.drop(made.name, made.identifier)
            raise
        finally:
            incoming.close()

    def _bounded(self, size: int) -> None:
        if size > self._max_bytes:
            raise OriginFailed(
                "The source of this image is larger than is allowed here.", str(size)
            )

    def _ranges(self, made: Record, source: Source, answer: Answer) -> HttpRanges | None:
        """The parts of a file that is large enough to be read so."""
        if not (isinstance(source, HttpSource) and made.named and made.keep):
            return None
        if made.size < PARTS_LEAST:
            return None
        return source.ranges(
            answer.url, answer.headers, lambda: self._known.drop(made.name, made.identifier)
        )

    def _by_parts(
        self, made: Record, ranges: HttpRanges, answer: Answer, noting: Noting
    ) -> Record | None:
        """A tiled TIFF behind an origin that gives parts: never fetched whole."""
        if noting.head[:4] not in TIFF:
            return None
        try:
            info = self._probe_parts(noting, made.fingerprint_by_parts)
        except (ProxyError, SourceChanged) as fault:
            log.info("not read by parts: %r", fault)
            return None
        if info is None:
            return None
        said = {name: answer.headers[name] for name in ranges.SAYING if name in answer.headers}
        return made.by_parts({**said, "url": answer.url}, info)
