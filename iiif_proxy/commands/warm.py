"""`iiif-proxy warm`: make images before they are asked for."""

import argparse
import os
import re

from iiif_proxy.commands.options import Mistake, add_identifiers, identifiers

HELP = "make tiles and sizes before they are asked for; what is stored already is skipped"
EXAMPLES = """\
  iiif-proxy warm maps/1634.tif portraits/7.jpg
  iiif-proxy warm --from identifiers.txt --jobs 4
  iiif-proxy warm --manifest https://example.org/manifest.json
  iiif-proxy warm --presets maps/1634.tif portraits/7.jpg
  iiif-proxy warm --from - --only '!400,400' --only 1000, --format webp
An interrupted run goes on where it was when it is started again.
"""

# Seconds for what is still on its way to the cache of all machines.
AFTERWARDS = 600.0


def arguments(parser: argparse.ArgumentParser) -> None:
    add_identifiers(parser)
    parser.add_argument(
        "--manifest",
        action="append",
        default=[],
        metavar="URL",
        help="every image of ours in a IIIF manifest or collection (URL or file); repeatable",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="SIZE",
        help="the whole image at this size, instead of tiles and sizes; repeatable",
    )
    parser.add_argument(
        "--presets",
        action="store_true",
        help="the presets of each image, instead of tiles and sizes",
    )
    parser.add_argument("--no-tiles", action="store_true", help="only the sizes of info.json")
    parser.add_argument("--version", type=int, choices=(2, 3), default=3, help="of the Image API")
    parser.add_argument("--format", default="jpg", help="file format (default: %(default)s)")
    parser.add_argument(
        "--jobs",
        type=number,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many at once (default: one a core)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only faults")


def number(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 9999")
    return int(text)


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.commands import inside, working
    from iiif_proxy.commands.manifests import Reading
    from iiif_proxy.stores.shared import flush_all

    proxy = inside.proxy()
    if proxy.settings.cache_dir is None:
        raise Mistake("Nothing would be kept: IIIF_PROXY_CACHE_DIR is empty.")
    if given.presets and not proxy.presets:
        raise Mistake("There are no presets: IIIF_PROXY_PRESETS is empty.")
    names: list[str] = []
    reading = Reading(proxy.settings.prefix)
    for address in given.manifest:
        names += reading.identifiers(address)
    for foreign in sorted(reading.foreign):
        inside.complain(f"not one of ours: {foreign}")
    if given.identifiers or given.file or not given.manifest:
        names += identifiers(given)
    names = list(dict.fromkeys(names))
    work = working.Warming(
        proxy, given.version, given.format, given.only, not given.no_tiles, given.presets
    )
    progress = working.Progress(len(names), quiet=given.quiet)
    working.each(names, work.tasks, work.make, progress, given.jobs)
    progress.end()
    shared = flush_all(AFTERWARDS)
    if not shared:
        inside.complain("The cache of all machines does not have everything: it does not answer.")
    return 1 if progress.failed or reading.failed or not shared else 0
