"""`iiif-proxy export`: a static tree of images that any file server can serve."""

import argparse
import os
from pathlib import Path

from iiif_proxy.commands.options import Mistake, add_identifiers, identifiers

HELP = "write images as a static IIIF tree (level 0) that works from any file server"
EXAMPLES = """\
  iiif-proxy export --to site/iiif --base https://example.org/iiif maps/1634.tif
  iiif-proxy export --to /srv/www/iiif --base https://example.org/iiif --from ids.txt
What is there already for the same state of the source is left alone.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    from iiif_proxy.commands.warm import number

    add_identifiers(parser)
    parser.add_argument("--to", required=True, type=Path, metavar="FOLDER", help="where to write")
    parser.add_argument(
        "--base", required=True, metavar="URL", help="public address of that folder"
    )
    parser.add_argument("--version", type=int, choices=(2, 3), default=3, help="of the Image API")
    parser.add_argument(
        "--jobs",
        type=number,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many at once (default: one a core)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, only faults")


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.commands import inside, working
    from iiif_proxy.commands.tree import Tree
    from iiif_proxy.values import is_url

    if not is_url(given.base):
        raise Mistake(f"--base: {given.base!r} is not an http or https URL")
    names = list(dict.fromkeys(identifiers(given)))
    tree = Tree(inside.proxy(), given.to, given.base.rstrip("/"), given.version)
    progress = working.Progress(len(names), quiet=given.quiet)
    working.each(names, tree.tasks, tree.make, progress, given.jobs)
    if not progress.failed:
        tree.finish()
    progress.end()
    return 1 if progress.failed else 0
