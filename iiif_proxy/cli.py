"""The command `iiif-proxy`."""

import argparse
import logging
import os
import re
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from iiif_proxy import __version__
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import Settings, SettingsError, load
from iiif_proxy.wiring import workers_of


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with threads, set up for this application."""

    def __init__(self, bind: str, settings: Settings) -> None:
        self.bind, self.settings = bind, settings
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": self.bind,
            "worker_class": "gthread",
            "workers": workers_of(self.settings),
            "threads": self.settings.threads,
            "keepalive": 75,
            "graceful_timeout": 30,
            "proc_name": "iiif-proxy",
            # Who may be believed is decided by IIIF_PROXY_TRUSTED_PROXIES alone.
            "forwarded_allow_ips": "",
            "loglevel": self.settings.log_level,
            # As long as gunicorn can: identifiers and the origin's queries may be.
            "limit_request_line": 8190,
            # Nothing of ours in the user's home directory (gunicorn 25 and newer).
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return IIIFProxy()


def address(text: str) -> str:
    """`HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`, as gunicorn takes it."""
    host, colon, port = text.rpartition(":")
    if text.startswith("unix:") and port:
        return text
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8182")
    if int(port) > 65535:
        raise argparse.ArgumentTypeError(f"there is no port {port}")
    return text


def serve(bind: str) -> int:
    settings = load(os.environ)
    IIIFProxy(environ={**os.environ})  # every mistake stops the start here, before any fork
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    Server(bind, settings).run()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a mistake in arguments or settings."""
    parser = argparse.ArgumentParser(
        prog="iiif-proxy", description="IIIF in front of the image origin you already have."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="start the sidecar; everything else comes from the environment (IIIF_PROXY_…)",
        epilog="example: IIIF_PROXY_ORIGIN=http://127.0.0.1:9000 iiif-proxy serve",
    )
    serving.add_argument(
        "--bind",
        default="127.0.0.1:8182",
        metavar="HOST:PORT",
        type=address,
        help="where to listen (default: %(default)s; also unix:PATH)",
    )
    given = parser.parse_args(arguments)
    try:
        return serve(given.bind)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
