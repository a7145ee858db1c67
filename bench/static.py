"""Hits that nginx answers from the published tree, beside plain files, proxy_cache and the sidecar.

    python -m bench.static [--rounds 3] [--seconds 1] [--connections 4] [--tile 512]

Everything in one nginx with one worker, in turns. Two ratios each: requests a second (with wrk, if
it is here; else by Python, which then is what is measured) and processor time of nginx for one
request, which others on the machine disturb less. `cached` is with open_file_cache, which the
shipped file has off; `static` are the same bytes as files whose names are the URLs, and `static+`
the same with the same headers. `accel` is deploy/nginx-accel.conf, `proxied` the same without files
handed over: compare these two, and `sidecar`, which is asked directly.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from bench.client import Client, drive
from bench.server import TICK, origin, sidecar

SHIPPED = Path(__file__).parents[1] / "deploy" / "nginx-static.conf"
ACCEL = SHIPPED.with_name("nginx-accel.conf")
LOCATION = "/-derivatives/"
SIDE = 4096
KINDS = (
    "static", "static+", "published", "cached", "proxy_cache", "accel", "proxied", "sidecar",
)  # fmt: skip
PYTHONS = ("accel", "proxied", "sidecar")
MAIN = """
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
pcre_jit on;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 10000000;
    client_body_temp_path {folder}/t1;
    proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    proxy_cache_path {folder}/proxy_cache keys_zone=zone:10m;
    types {{ image/jpeg jpg; }}
    sendfile on;
    include {folder}/published.conf;
    server {{ listen 127.0.0.1:{static}; root {folder}/plain; }}
    server {{
        listen 127.0.0.1:{headed};
        root {folder}/plain;
        {headers}
    }}
    server {{
        listen 127.0.0.1:{proxy_cache};
        location / {{
            proxy_pass http://127.0.0.1:{sidecar};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache zone;
        }}
    }}
}}
"""


def tails(tile: int) -> list[str]:
    """Tiles of two scale factors; most of a viewer's are at the finest."""
    found = []
    for factor in (1, 2):
        step = tile * factor
        for y in range(0, SIDE, step):
            for x in range(0, SIDE, step):
                found.append(f"{x},{y},{step},{step}/{tile},{tile}/0/default.jpg")
    return found


def source(folder: Path) -> Path:
    """A picture whose tiles have about 20 KB."""
    noise = Image.effect_noise((SIDE // 8, SIDE // 8), 14).resize((SIDE, SIDE))
    path = folder / "scan.jpg"
    Image.merge("RGB", (noise, noise.transpose(Image.Transpose.ROTATE_90), noise)).save(
        path, quality=90
    )
    return path


def ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in found]


def published(port: int, cached_port: int, sidecar_port: int, cache: Path) -> str:
    """The shipped file, and its server once more with open_file_cache."""
    text = SHIPPED.read_text()
    for before, after in (
        ("127.0.0.1:8182", f"127.0.0.1:{sidecar_port}"),
        ("/var/cache/iiif-proxy", str(cache)),
    ):
        assert before in text
        text = text.replace(before, after)
    head, server = text[: text.index("\nserver {")], text[text.index("\nserver {") :]
    again = server.replace(
        "open_file_cache off;", "open_file_cache max=10000; open_file_cache_valid 1s;"
    )
    assert again != server
    listens = [(server, port), (again, cached_port)]
    return head + "".join(
        text.replace("listen 80;", f"listen 127.0.0.1:{number};") for text, number in listens
    )


def handed(port: int, proxied_port: int, cache: Path) -> str:
    """The other shipped file's server, behind `published`; and without its leave to hand over."""
    text = ACCEL.read_text().replace("/var/cache/iiif-proxy", str(cache))
    server = text[text.index("\nserver {") :]
    again = server.replace(f"set $iiif_accel {LOCATION};", "")
    assert again != server
    return "".join(
        text.replace("listen 80;", f"listen 127.0.0.1:{number};")
        for text, number in ((server, port), (again, proxied_port))
    )


@contextlib.contextmanager
def nginx(folder: Path, conf: str) -> Iterator[int]:
    """Running; the process id of its worker."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not here (Debian: nginx-light)")
    (folder / "nginx.conf").write_text(conf)
    process = subprocess.Popen([program, "-c", folder / "nginx.conf"])
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 10
        while not children.read_text().split():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit((folder / "error.log").read_text())
            time.sleep(0.05)
        yield int(children.read_text().split()[0])
    finally:
        process.terminate()
        process.wait(10)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Load:
    """Asks for one path after the other on some connections, for some seconds."""

    def __init__(self, folder: Path, paths: list[str], connections: int, seconds: int) -> None:
        self._paths, self._connections, self._seconds = paths, connections, seconds
        self.wrk = shutil.which("wrk")
        self._script = folder / "paths.lua"
        listed = ",".join(f'"{path}"' for path in paths)
        self._script.write_text(
            f"local paths = {{{listed}}}\nlocal n = 0\n"
            "request = function() n = n % #paths + 1 return wrk.format('GET', paths[n]) end\n"
        )

    def run(self, port: int) -> tuple[int, float]:
        """Requests answered, and seconds."""
        if self.wrk is None:
            count = 2000 * self._seconds
            begun = time.perf_counter()
            drive(port, (self._paths * (count // len(self._paths) + 1))[:count], self._connections)
            return count, time.perf_counter() - begun
        said = subprocess.run(
            [self.wrk, "-t1", f"-c{self._connections}", f"-d{self._seconds}s",
             "-s", self._script, f"http://127.0.0.1:{port}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(said)
        found = re.search(r"(\d+) requests in", said)
        rate = re.search(r"Requests/sec: +([\d.]+)", said)
        assert found is not None
        assert rate is not None
        return int(found[1]), int(found[1]) / float(rate[1])


def prepare(folder: Path, sidecar_port: int, found: list[str]) -> int:
    """All tiles made, and copied to where a plain file would be; their mean size."""
    sizes = []
    with Client(sidecar_port) as client:
        for tail in found:
            path = f"/iiif/3/scan.jpg/{tail}"
            body = client.get(path).body
            sizes.append(len(body))
            file = folder / "plain" / path[1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
    return sum(sizes) // len(sizes)


def measure(rounds: int, seconds: int, connections: int, tile: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="iiif-proxy-static-"))
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    behind_it: dict[str, list[float]] = {kind: [] for kind in KINDS}
    try:
        source(folder)
        with (
            origin(folder) as behind,
            sidecar(behind.port, folder / "cache", accel=LOCATION) as beside,
        ):
            found = tails(tile)
            size = prepare(folder, beside.port, found)
            chosen = dict(zip(KINDS, [*ports(len(KINDS) - 1), beside.port], strict=True))
            (folder / "published.conf").write_text(
                published(chosen["published"], chosen["cached"], beside.port, folder / "cache")
                + handed(chosen["accel"], chosen["proxied"], folder / "cache")
            )
            headers = re.findall(r"^ +(add_header (?!Link).*;)$", SHIPPED.read_text(), re.M)
            headers.append("add_header Link '<http://127.0.0.1/iiif/3/scan.jpg/0,0,512,512/512,"
                           '512/0/default.jpg>;rel="canonical", <http://iiif.io/api/image/3/'
                           "level2.json>;rel=\"profile\"';")  # fmt: skip
            conf = MAIN.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=folder, static=chosen["static"], headed=chosen["static+"],
                proxy_cache=chosen["proxy_cache"], sidecar=beside.port,
                headers="\n        ".join(headers),
            )  # fmt: skip
            load = Load(folder, [f"/iiif/3/scan.jpg/{t}" for t in found], connections, seconds)
            with nginx(folder, conf) as worker:
                for kind in KINDS[:-1]:
                    drive(chosen[kind], [f"/iiif/3/scan.jpg/{tail}" for tail in found], 1)
                for _ in range(rounds):
                    for kind, port in chosen.items():
                        own, pythons = processor_seconds(worker), beside.cpu()
                        count, took = load.run(port)
                        rates[kind].append(count / took)
                        costs[kind].append((processor_seconds(worker) - own) / count * 1e6)
                        behind_it[kind].append((beside.cpu() - pythons) / count * 1e6)
        tell(rates, costs, behind_it, size, load.wrk is not None, len(found))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(
    rates: dict[str, list[float]],
    costs: dict[str, list[float]],
    pythons: dict[str, list[float]],
    size: int,
    wrk: bool,
    count: int,
) -> None:
    rate = {kind: statistics.median(values) for kind, values in rates.items()}
    cost = {kind: statistics.median(values) for kind, values in costs.items()}
    client = "wrk" if wrk else "a Python client: requests a second are the client's"
    print(f"{count} tiles of {size / 1000:.0f} KB, {client}")
    print(f"{'':12} {'hits/s':>8} {'us of nginx':>12}   published is")
    for kind in KINDS:
        line = f"{kind:12} {rate[kind]:8.0f} "
        if kind in PYTHONS:
            share = rate["published"] / rate[kind]
            python = statistics.median(pythons[kind])
            print(line + f"{cost[kind]:12.1f}   {share:.2f}x the hits/s; {python:.0f} us of Python")
            continue
        print(
            line + f"{cost[kind]:12.1f}   {rate['published'] / rate[kind]:.2f}x the hits/s, "
            f"{cost['published'] / cost[kind]:.2f}x the processor time"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--tile", type=int, default=512, help="pixels of a side")
    chosen = parser.parse_args()
    measure(chosen.rounds, chosen.seconds, chosen.connections, chosen.tile)
    return 0


if __name__ == "__main__":
    sys.exit(main())
