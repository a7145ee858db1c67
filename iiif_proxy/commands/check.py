"""`iiif-proxy check`: the settings, what they lead to, and the way in through the public front."""

import argparse
import os
import re
import time

from iiif_proxy.settings import FIELDS, Settings, load, variable

HELP = "show every setting and try what it leads to; with a URL, try the public front"
EXAMPLES = """\
  iiif-proxy check
  iiif-proxy check --id maps/1634.tif
  iiif-proxy check https://images.example.org/iiif
With a URL nothing is read from the settings: it can be run from anywhere.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="public address of the prefix, such as https://…/iiif"
    )
    parser.add_argument("--id", metavar="ID", help="an identifier to fetch and make an image of")
    parser.add_argument("--quiet", action="store_true", help="without the settings")


def run(given: argparse.Namespace) -> int:
    if given.url:
        from iiif_proxy.commands.front import check

        return check(given.url)
    settings = load(os.environ)
    if not given.quiet:
        print_settings(settings)
    return try_out(given.id)


def print_settings(settings: Settings) -> None:
    for name, this in FIELDS.items():
        given = variable(name) in os.environ
        value = getattr(settings, name)
        shown = os.environ[variable(name)].strip() if given else this.metadata["default"]
        if this.metadata["unset"] and not given and value:
            shown = str(value)
        mark = "*" if given else " "
        print(f"{mark} {variable(name)} = {masked(shown) or '(empty)'}")
        print(f"      {this.metadata['sentence']}")
    print("\n* from the environment; the others are the defaults\n")


def masked(text: str) -> str:
    """Without what may be a secret: the values in queries, users in URLs."""
    text = re.sub(r"([?&][^=&\s]+)=(?!\{id\})[^&\s]+", r"\1=…", text)
    return re.sub(r"//[^/\s]+@", "//…@", text)


def try_out(identifier: str | None) -> int:
    from iiif_proxy.commands import inside
    from iiif_proxy.errors import ProxyError
    from iiif_proxy.iiif.urls import encode, parse
    from iiif_proxy.people import health_of

    proxy = inside.proxy()
    well = True
    for name, finding in health_of(proxy.settings).deep().items():
        well = well and finding.ok
        facts = ", ".join(f"{key} {value}" for key, value in finding.facts.items())
        mark = "ok   " if finding.ok else "FAULT"
        print(f"{mark} {name}: {finding.says}{f' ({facts})' if facts else ''}")
    if identifier is None:
        return 0 if well else 1
    begun = time.perf_counter()
    try:
        source, info = proxy.service.info(identifier, inside.nobody())
        fetched = time.perf_counter()
        prefix = proxy.settings.prefix
        request = parse(f"{prefix}/3/{encode(identifier)}/full/!400,400/0/default.jpg", prefix, 3)
        _, derivative = inside.derived(proxy, request)  # type: ignore[arg-type]
        with derivative.entry as entry:
            size = entry.size
    except ProxyError as error:
        print(f"FAULT {identifier}: {error.status} {error}")
        return 1
    where = masked(source.record.url)
    print(f"ok    {identifier}: {info.width} × {info.height} {info.format} from {where}")
    taken = [f"{1000 * t:.0f} ms" for t in (fetched - begun, time.perf_counter() - fetched)]
    stored = ", stored already" if derivative.hit else ""
    print(f"ok    its header in {taken[0]}, a thumbnail of {size} bytes in {taken[1]}{stored}")
    return 0 if well else 1
