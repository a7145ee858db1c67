"""`python -m iiif_proxy.demo [--images FOLDER] [--bind HOST:PORT]`, which is `make run`."""

import argparse
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from iiif_proxy.demo.index import page, pictures
from iiif_proxy.demo.origin import serving
from iiif_proxy.settings import SettingsError, default_cache_dir, load

PATIENCE = 30.0  # seconds for the proxy to come up
DRAWING = 1  # the edition of the drawn pictures


class NotStarted(Exception):
    """One sentence on why."""


def place() -> Path:
    """A folder that may be written to: in the user's cache, else among the temporary files."""
    folder = default_cache_dir().with_name("iiif-proxy-demo")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="iiif-proxy-demo-"))


def drawn(base: Path) -> Path:
    """The folder of the pictures that the demo draws itself, drawn when it is not there yet."""
    folder = base / f"pictures-{DRAWING}"
    if folder.is_dir():
        return folder
    print("Drawing three pictures, once …", flush=True)
    from iiif_proxy.demo import map as large
    from iiif_proxy.demo.pictures import compass, on_its_side, portrait

    making = Path(tempfile.mkdtemp(prefix="drawing-", dir=base))
    try:
        making.chmod(0o755)
        large.draw().save(making / "map.jpg", quality=88)
        (making / "people").mkdir()
        lying, exif = on_its_side(portrait())
        lying.save(making / "people" / "portrait.jpg", quality=90, exif=exif)
        (making / "signs").mkdir()
        compass(1600).save(making / "signs" / "compass.png")
        making.rename(folder)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        if not folder.is_dir():  # another demo was faster
            raise
    return folder


def host_and_port(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise NotStarted(f"{bind} is not HOST:PORT, such as 127.0.0.1:8182.")
    return host.strip("[]"), int(port)


def check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise NotStarted(
                f"{host}:{port} cannot be used ({(error.strerror or 'unknown').lower()}): stop what"
                f" listens there, or name another: make run BIND={host}:{port + 1}"
            ) from None


def wait_until_healthy(url: str, proxy: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if proxy.poll() is not None:
            raise NotStarted("The proxy did not start.")
        try:
            with opener.open(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise NotStarted(f"The proxy did not answer within {PATIENCE:.0f} seconds.")


def links(base: str, prefix: str, names: list[str]) -> str:
    lines = [("All pictures", f"{base}/")]
    for name in names[:3]:
        identifier = quote(name, safe="")
        image = f"{base}{prefix}/3/{identifier}"
        lines += [
            ("", ""),
            (f"{name}, to zoom", f"{base}{prefix}/-/view/{identifier}"),
            ("information", f"{image}/info.json"),
            ("at most 400 x 400", f"{image}/full/!400,400/0/default.jpg"),
            ("turned", f"{image}/full/!400,400/22.5/default.png"),
            ("the original", f"{base}/{quote(name)}"),
        ]
    width = max(len(what) for what, _ in lines)
    return "\n".join(f"  {what:{width}}  {url}".rstrip() for what, url in lines)


def run(images: Path | None, bind: str) -> int:
    """Until it is interrupted or the proxy ends; the proxy's exit code."""
    host, port = host_and_port(bind)
    settings = load(os.environ)  # a mistake in them ends it here, before anything is drawn
    check_free(host, port)
    base = place()
    if images is not None and not images.is_dir():
        raise NotStarted(f"{images} is not a folder.")
    folder = images.resolve() if images is not None else drawn(base)
    environ = dict(os.environ)
    # A cache for each folder: another one may have other pictures of the same name.
    kept = base / f"cache-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    environ.setdefault("IIIF_PROXY_CACHE_DIR", str(kept))
    environ.setdefault("IIIF_PROXY_LOG_LEVEL", "warning")
    with serving(folder, partial(page, folder, settings.prefix)) as origin:
        environ["IIIF_PROXY_ORIGIN"] = origin
        command = [sys.executable, "-m", "iiif_proxy.cli", "serve", "--bind", bind]
        proxy = subprocess.Popen(command, env=environ)
        try:
            shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
            url = f"http://{shown}:{port}"
            wait_until_healthy(f"{url}{settings.prefix}/-/health", proxy)
            print(f"\n{links(url, settings.prefix, list(pictures(folder)))}\n\nCtrl-C stops it.")
            sys.stdout.flush()
            return proxy.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            stop(proxy)


def stop(proxy: subprocess.Popen[bytes]) -> None:
    if proxy.poll() is None:
        proxy.send_signal(signal.SIGINT)  # gunicorn: at once; a second one does no harm
        try:
            proxy.wait(5)
        except subprocess.TimeoutExpired:
            proxy.kill()
            proxy.wait()


def interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m iiif_proxy.demo", description="iiif-proxy in front of a few pictures."
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="pictures of your own")
    parser.add_argument("--bind", default="127.0.0.1:8182", metavar="HOST:PORT")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(given.images, given.bind)
    except KeyboardInterrupt:
        return 0
    except (NotStarted, SettingsError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
