"""`iiif-proxy sign`: an address that somebody may open for a while."""

import argparse
import os
import time

from iiif_proxy.commands.options import Mistake

HELP = "sign the address of an image, so that whoever has it may open it for a while"
EXAMPLES = """\
  iiif-proxy sign https://images.example.org/iiif/3/restricted%2Fa.tif/full/800,/0/default.jpg
  iiif-proxy sign --for 7d --class privileged https://images.example.org/iiif/3/a.tif/info.json
It needs [signing] in the policy (IIIF_PROXY_POLICY); the first key of its file signs.
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="the address; it is signed as it stands")
    parser.add_argument("--for", dest="time", default="1h", help="how long (default: %(default)s)")
    parser.add_argument(
        "--class", dest="one", metavar="CLASS", help="as what class (default: that of the policy)"
    )


def run(given: argparse.Namespace) -> int:
    from iiif_proxy.access import reading, signed
    from iiif_proxy.settings import load
    from iiif_proxy.values import some_seconds
    from iiif_proxy.wiring import features_of

    settings = load(os.environ)
    if settings.policy is None:
        raise Mistake("There is no policy: IIIF_PROXY_POLICY is empty.")
    try:
        policy = reading.read(settings.policy, features_of(settings))
    except reading.PolicyError as error:
        raise Mistake(str(error)) from error
    said = policy.settings["signing"]
    if "file" not in said:
        raise Mistake("The policy has no [signing] with a file of keys.")
    one = given.one or said.get("class", "member")
    if one not in policy.classes:
        raise Mistake(f"There is no class {one!r} in the policy.")
    try:
        until = int(time.time() + some_seconds(given.time))
        secrets = signed.read(settings.policy.parent / said["file"])
        print(signed.sign(given.url, secrets, settings.prefix, one, until))
    except ValueError as fault:
        raise Mistake(f"{given.url}: {fault}") from fault
    return 0
