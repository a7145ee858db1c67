"""The benchmarks run: what they measure is not looked at here."""

import importlib
import pkgutil
from pathlib import Path

import bench
from bench.client import Client
from bench.server import origin, sidecar
from tests.ahead.conftest import encoded, photograph


def test_every_benchmark_can_be_loaded() -> None:
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name != "__main__":
            importlib.import_module(f"bench.{module.name}")


def test_the_sidecar_that_is_measured(tmp_path: Path) -> None:
    """It is started as `serve` starts it, and ends without a word."""
    (tmp_path / "a.jpg").write_bytes(encoded(photograph((300, 200))))
    with origin(tmp_path) as behind, sidecar(behind.port, workers=1) as running:
        with Client(running.port) as client:
            first = client.get("/iiif/3/x%2Fa.jpg/full/100,/0/default.jpg")
            again = client.get("/iiif/3/x%2Fa.jpg/full/100,/0/default.jpg")
        assert (first.hit, again.hit) == (False, True)
        assert running.cpu() > 0
        assert running.proportional() > 1 << 20
