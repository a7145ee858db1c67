"""What it costs to decode in another process: `python -m bench.apart`.

The same regions of PNG and TIFF by `Apart` and here, alternated; medians.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from iiif_proxy.iiif.model import Box
from iiif_proxy.imaging.apart import HERE, Apart, Jobs
from iiif_proxy.imaging.look import DEFAULT
from iiif_proxy.imaging.reader import probe
from iiif_proxy.imaging.reading import Reading

ROUNDS = 15


def once(jobs: Jobs, path: Path, width: int) -> float:
    info = probe(path)
    box = Box(0, 0, info.width, info.height)
    begun = time.perf_counter()
    jobs.run("region", str(path), info, Reading(), DEFAULT, box, width, width)
    return time.perf_counter() - begun


def main() -> None:
    apart = Apart()
    print(f"{'source':24} {'answer':>12} {'here ms':>9} {'apart ms':>9} {'ratio':>6}")
    with TemporaryDirectory() as folder:
        for side, width in ((100, 50), (1000, 200), (1000, 1000), (4000, 400), (4000, 4000)):
            for kind in ("png", "tif"):
                path = Path(folder) / f"{side}.{kind}"
                noise = Image.effect_noise((side, side), 40)
                Image.merge("RGB", [noise] * 3).save(path)
                begun = time.perf_counter()
                once(apart, path, width)
                first = time.perf_counter() - begun
                pairs = [(once(HERE, path, width), once(apart, path, width)) for _ in range(ROUNDS)]
                here, there = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(
                    f"{side} x {side} {kind:12} {width:>6} x {width:<5}"
                    f" {1e3 * here:8.2f} {1e3 * there:9.2f} {there / here:6.2f}"
                    + (
                        f"  (the first {1e3 * first:.0f} ms)"
                        if (side, kind) == (100, "png")
                        else ""
                    )
                )
    apart.close()


if __name__ == "__main__":
    main()
