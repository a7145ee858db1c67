"""`iiif-proxy explain`: why an address is answered as it is."""

import argparse
from urllib.parse import urlsplit

HELP = "explain an address: how it was read, what refused it, what to write instead"
EXAMPLES = """\
  iiif-proxy explain /iiif/3/map.jpg/full/full/0/native.jpg
  iiif-proxy explain 'https://images.example.org/iiif/3/a%2Fb.jpg/full/max/0/default.jpg'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="URL", help="a URL, or its path from the root")


def run(given: argparse.Namespace) -> int:
    """Answered is 0, refused is 1."""
    from iiif_proxy.commands import inside
    from iiif_proxy.explaining import Explainer

    proxy = inside.proxy()
    settings = proxy.settings
    path = urlsplit(given.address).path if "://" in given.address else given.address
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        path = f"{settings.prefix}/{path}"
    explainer = Explainer(proxy.service, settings.prefix, settings.default_version)
    found = explainer.explain(path, inside.nobody())
    print(f"{found.status}  {found.verdict}")
    if found.rule:
        print(f"\nThe rule: {found.rule}\n          {found.rule_url}")
    if found.instead:
        print(f"Instead:  {found.instead}")
    if found.parts:
        print()
    for part in found.parts:
        mark = "!" if part.fault else " "
        print(f"{mark} {part.name:12} {part.written:24} {part.means}")
    if found.facts:
        print()
    for name, value in found.facts.items():
        print(f"  {name:18} {value}")
    return 0 if found.status < 400 else 1
