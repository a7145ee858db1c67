"""The benchmarks run: what they measure is not looked at here."""

import importlib
import pkgutil
from pathlib import Path

import bench
from bench.capacity import Costs, Habits, Prices, need
from bench.client import Client
from bench.server import origin, sidecar
from bench.zipf import Collection, formula, measured, ranks, simulated
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


def test_the_model_of_hits_is_the_store(tmp_path: Path) -> None:
    these = Collection.of(400, 1600, 0.9, 0.2)
    real, rule = measured(these, tmp_path), simulated(these)
    assert abs(rule - real) < 0.02
    assert abs(formula(these, 0.9) - real) < 0.06
    assert 0.2 < real < 0.9


def test_bins_of_ranks_are_all_ranks() -> None:
    shares, many = ranks(10**8, 0.8)
    assert abs(many.sum() - 10**8) < 1
    assert abs((shares * many).sum() - 1) < 1e-9
    exact = sum(rank**-0.8 for rank in range(1, 50_001))
    shares, _ = ranks(50_000, 0.8)
    assert abs(1 / exact / shares[0] - 1) < 1e-3


def test_what_is_needed_grows_with_what_is_asked() -> None:
    costs = Costs(hit=0.0005, far=0.002, image=1.5, files=80, stored=4e6, tile=40_000)
    found = [need(10**6, asked, costs, Prices(), Habits()) for asked in (10, 1000, 100_000)]
    assert [n.machines for n in found] == sorted(n.machines for n in found)
    assert found[0].machines == 2
    for n in found:
        assert abs(n.near + n.far + n.made - 1) < 1e-9
        assert n.cores <= n.machines * Prices().cores * Prices().busy + 1e-9
        assert n.stored <= 10**6 * costs.stored
    # Half the room in each machine: not less is made.
    less = need(10**6, 1000, costs, Prices(disk=20), Habits(expiry=1))
    assert less.made >= found[1].made
