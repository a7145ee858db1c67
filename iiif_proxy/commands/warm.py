"""`iiif-proxy warm`: make images before they are asked for."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iiif_proxy.commands.options import Mistake, add_identifiers, files, identifiers

if TYPE_CHECKING:
    from iiif_proxy.commands.working import Progress

HELP = "make tiles and sizes before they are asked for; what is stored already is skipped"
EXAMPLES = """\
  iiif-proxy warm maps/1634.tif portraits/7.jpg
  iiif-proxy warm --from identifiers.txt --jobs 4
  iiif-proxy warm --manifest https://example.org/manifest.json
  iiif-proxy warm --presets maps/1634.tif portraits/7.jpg
  iiif-proxy warm --from - --only '!400,400' --only 1000, --format webp
  iiif-proxy warm --from identifiers.txt --engine celery --rate 20/second --failed failed.txt
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
    parser.add_argument(
        "--engine",
        choices=("local", "celery"),
        default="local",
        help="who makes them: this command, or the workers of `celery -A iiif_proxy.bulk worker`",
    )
    parser.add_argument(
        "--broker", metavar="URL", help="Redis of those workers (default: IIIF_PROXY_BROKER)"
    )
    parser.add_argument(
        "--rate",
        type=rate,
        metavar="N/TIME",
        help="begin so many images at most, all workers together, such as 20/second: the origin"
        " is asked for each",
    )
    parser.add_argument(
        "--patience",
        type=number,
        default=60,
        metavar="SECONDS",
        help="so long nothing may be heard of what workers took, before it is given to others"
        " (default: %(default)s)",
    )
    failed = parser.add_argument(
        "--failed",
        metavar="FILE",
        help="write what was not made, and why, to a file that --from takes",
    )
    files(failed)
    parser.add_argument("--quiet", action="store_true", help="no progress, only faults")


def number(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 9999")
    return int(text)


def rate(text: str) -> str:
    from iiif_proxy import values

    try:
        found = values.rate(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(f"{text!r} is not {fault}") from None
    if found is None:
        raise argparse.ArgumentTypeError("it is empty")
    return found


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.commands import inside, working
    from iiif_proxy.commands.manifests import Reading
    from iiif_proxy.commands.pace import Pace, origins
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
    what = {
        "version": given.version,
        "format": given.format,
        "only": given.only,
        "tiles": not given.no_tiles,
        "presets": given.presets,
    }
    progress = working.Progress(len(names), quiet=given.quiet)
    if given.engine == "celery":
        _spread(given, proxy.settings.broker, names, what, progress)
    else:
        work, pace = working.Warming(proxy, **what), Pace(given.rate, origins(proxy.settings))

        def tasks(name: str) -> Sequence[str]:
            pace.wait(name)
            return work.tasks(name)

        working.each(names, tasks, work.make, progress, given.jobs)
    progress.end()
    _letters(given.failed, progress)
    shared = flush_all(AFTERWARDS)
    if not shared:
        inside.complain("The cache of all machines does not have everything: it does not answer.")
    return 1 if progress.failed or reading.failed or not shared else 0


def _spread(
    given: argparse.Namespace,
    broker: str | None,
    names: Sequence[str],
    what: Mapping[str, Any],
    progress: "Progress",
) -> None:
    """Raises Mistake."""
    from iiif_proxy import values

    try:
        broker = values.redis_url(given.broker) if given.broker else broker
    except ValueError as fault:
        raise Mistake(f"--broker: {given.broker!r} is not {fault}") from None
    if broker is None:
        raise Mistake("The engine needs a broker (--broker or IIIF_PROXY_BROKER).")
    try:
        from iiif_proxy.commands.spreading import Spreading
    except ImportError:
        raise Mistake("Celery is not installed here: pip install 'iiif-proxy[bulk]'") from None
    asked = {"what": what, "rate": given.rate}
    Spreading(broker, asked, progress, given.patience).all(names)


def _letters(file: str | None, progress: "Progress") -> None:
    """What was not made, at the end: the reasons were said as they came, but far above."""
    lines = list(progress.letters())
    if file:
        Path(file).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    if lines:
        print("Not made:", file=sys.stderr)
        for line in lines:
            if line.startswith("# "):
                print(f"  {line[2:]}", file=sys.stderr)
