"""Another process on the same folder: does what each line of its input says, prints JSON."""

import hashlib
import json
import sys
from pathlib import Path

from iiif_proxy.concurrency import SingleFlight
from iiif_proxy.errors import ProxyError, SourceChanged
from iiif_proxy.imaging.reading import Reading
from iiif_proxy.imaging.sessions import Sessions
from iiif_proxy.sources.base import Source
from iiif_proxy.sources.cache import SourceCache
from iiif_proxy.sources.http import HttpSource
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.wiring import probe_parts_with, probe_with

# Seconds: more than a busy machine takes; and what a test waits for that is about their end.
LIMITS = {"read_timeout": 5.0, "total_timeout": 10.0, "connect_timeout": 5.0}
HURRIED = {"read_timeout": 0.4, "total_timeout": 1.0, "connect_timeout": 0.5}


def cache_over(
    root: Path, *sources: Source, folder: Path | None, patience: float = 5.0, **options: float
) -> SourceCache:
    return SourceCache(
        sources,
        probe_with(Reading(10**8)),
        probe_parts_with(Sessions(None, 0), ""),
        DiskStore(root / "records", 10**7),
        DiskStore(root / "sources", 10**8),
        SingleFlight(root / "locks"),
        folder=folder,
        patience=patience,
        **options,
    )


def main(root: Path, url: str, total: float) -> None:
    limits = {"read_timeout": total, "total_timeout": total, "connect_timeout": 0.5}
    cache = cache_over(root, HttpSource(url + "/{id}", **limits), folder=root, patience=15)
    say("ready")
    for line in sys.stdin:
        what, identifier = line.split()
        said: dict[str, object]
        try:
            image = cache.open(identifier, {})
            said = {"fingerprint": image.record.fingerprint}
            if what == "content":
                held = cache.content(image, {})
                said["sha256"] = hashlib.sha256(Path(held.path).read_bytes()).hexdigest()
        except (ProxyError, SourceChanged) as error:
            said = {"error": type(error).__name__}
        say(json.dumps(said))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
