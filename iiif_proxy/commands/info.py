"""`iiif-proxy info`: what is known of an image."""

import argparse
import json
import time

HELP = "show an image's info.json, where it came from and what is stored of it"
EXAMPLES = """\
  iiif-proxy info maps/1634.tif
  iiif-proxy info --version 2 --json maps/1634.tif
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("identifier", metavar="ID", help="the identifier as it is, not encoded")
    parser.add_argument("--version", type=int, choices=(2, 3), default=3, help="of the Image API")
    parser.add_argument("--json", action="store_true", help="the info.json and nothing else")


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.commands import inside
    from iiif_proxy.commands.stats import held_by
    from iiif_proxy.errors import ProxyError
    from iiif_proxy.iiif.urls import VERSIONS, encode
    from iiif_proxy.service import group_of
    from iiif_proxy.wiring import extras_of

    proxy = inside.proxy()
    service, settings = proxy.service, proxy.settings
    try:
        source, info = service.info(given.identifier, inside.nobody())
    except ProxyError as error:
        inside.complain(f"{error.status} {error}")
        return 1
    uri = f"{settings.base_url or ''}{settings.prefix}/{given.version}/{encode(given.identifier)}"
    document = VERSIONS[given.version].document(
        info, uri, service.limits, service.features, extras_of(settings)(given.identifier)
    )
    print(json.dumps(document, ensure_ascii=False, indent=1))
    if given.json:
        return 0
    record = source.record
    fresh = "looked at each time" if record.path else _date(record.fresh_until)
    entries, size = held_by(settings.cache_dir, group_of(given.identifier))
    rows = {
        "source": record.url,
        "bytes": record.size or "not known yet",
        "etag": record.etag or "-",
        "last modified": record.last_modified or _date(record.modified),
        "fresh until": fresh,
        "fingerprint": record.fingerprint or "not known yet",
        "stored": f"{entries} derivatives, {size} bytes",
    }
    print()
    for name, value in rows.items():
        print(f"{name:14} {value}")
    return 0


def _date(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "-"
