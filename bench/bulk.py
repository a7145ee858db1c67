"""How much `warm` makes: by itself, and with one and two Celery workers of one process each.

python -m bench.bulk [--images 40]

Needs redis-server and the extra [bulk]. The images are JPEG files of 3 megapixels (2000 x
1500), each round has a cache of its own, the workers are up before the clock starts.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.redisserver import RedisServer

SIDE = (2000, 1500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RedisServer("redis-server") as redis:
        names = drawn(Path(folder, "images"), given.images)
        first = 0.0
        rounds = [("local, --jobs 1", 0, "1"), ("local, --jobs 2", 0, "2")]
        rounds += [("celery, 1 worker", 1, "1"), ("celery, 2 workers", 2, "1")]
        for name, workers, jobs in rounds:
            environ = os.environ | {
                "IIIF_PROXY_SOURCE": f"file:{folder}/images/{{id}}",
                "IIIF_PROXY_CACHE_DIR": f"{folder}/{name}",
                "IIIF_PROXY_BROKER": redis.url,
            }
            with working(workers, environ, Path(folder)):
                made, seconds = warm(environ, bool(workers), jobs, names)
            first = first or made / seconds
            print(f"{name:18} {made / seconds:7.1f} images/s  {made / seconds / first:5.2f} x")


def drawn(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    names = [f"{n}.jpg" for n in range(count)]
    for n, name in enumerate(names):
        Image.effect_noise((SIDE[0] // 4, SIDE[1] // 4), 20 + n).resize(SIDE).convert("RGB").save(
            folder / name, quality=85
        )
    return names


@contextlib.contextmanager
def working(count: int, environ: dict[str, str], folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "iiif_proxy.bulk", "worker", "-c", "1"]
    logs = [folder / f"worker-{n}" for n in range(count)]
    workers = []
    for log in logs:
        with log.open("wb") as out:
            workers.append(
                subprocess.Popen([*command, "-l", "info"], env=environ, stdout=out, stderr=out)
            )
    try:
        while not all(" ready." in log.read_text(errors="replace") for log in logs):
            time.sleep(0.1)
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


def warm(environ: dict[str, str], celery: bool, jobs: str, names: list[str]) -> tuple[int, float]:
    """How many were made, in how many seconds."""
    engine = ["--engine", "celery" if celery else "local", "--jobs", jobs, "--quiet"]
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "iiif_proxy.cli", "warm", *engine, *names], env=environ, check=True
    )
    seconds = time.monotonic() - begun
    derivatives = Path(environ["IIIF_PROXY_CACHE_DIR"], "derivatives")
    made = [file for file in derivatives.rglob("*.jpg") if re.search("_default", file.name)]
    return len(made), seconds


if __name__ == "__main__":
    main()
