"""`iiif-proxy purge`: forget what is stored of some images."""

import argparse

from iiif_proxy.commands.options import Mistake, add_identifiers, identifiers

HELP = "forget what is stored of images: their source, what is known of it, every derivative"
EXAMPLES = """\
  iiif-proxy purge maps/1634.tif
  iiif-proxy purge --all
  psql -At -c 'select id from changed' | iiif-proxy purge --from -
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_identifiers(parser)
    parser.add_argument("--all", action="store_true", help="of all images, on all machines")
    parser.add_argument("--quiet", action="store_true", help="say nothing when all went well")


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.commands import inside
    from iiif_proxy.errors import ProxyError

    proxy = inside.proxy(publishes=True)
    if proxy.settings.cache_dir is None:
        inside.complain("Nothing is stored: IIIF_PROXY_CACHE_DIR is empty.")
        return 1
    if given.all:
        if given.identifiers or given.file:
            raise Mistake("Either --all, or some images.")
        proxy.service.purge_all()
        if not given.quiet:
            print("purged everything")
        return 0
    failed = 0
    for identifier in identifiers(given):
        try:
            proxy.service.purge(identifier)
        except (ProxyError, OSError) as error:
            failed += 1
            inside.complain(f"{identifier}: {error}")
        else:
            if not given.quiet:
                print(f"purged {identifier}")
    return 1 if failed else 0
