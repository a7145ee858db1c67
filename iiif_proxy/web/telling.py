"""The body of `/-/metrics`."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from iiif_proxy.errors import Busy
from iiif_proxy.stores import history

METRICS_TYPE = CONTENT_TYPE_LATEST


def exposition(stores: Mapping[str, Path], checks: Callable[[], Mapping[str, bool]]) -> bytes:
    """Every counter, of all processes where they count together; what the stores hold; what deep
    health finds."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ:
        registry = CollectorRegistry()
        try:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        except ValueError:
            raise Busy("The folder where the processes count together is not there.") from None
    held = CollectorRegistry()
    held.register(Stores(stores))
    held.register(Checks(checks))
    return bytes(generate_latest(registry) + generate_latest(held))


class Stores(Collector):
    """Read when it is asked: the stores keep their own account, shared by all processes."""

    def __init__(self, stores: Mapping[str, Path]) -> None:
        self._stores = stores

    def collect(self) -> Iterable[Metric]:
        size = GaugeMetricFamily("iiif_proxy_cache_bytes", "Bytes stored", labels=["store"])
        entries = GaugeMetricFamily(
            "iiif_proxy_cache_entries", "Entries that the last sweep left", labels=["store"]
        )
        evicted = CounterMetricFamily(
            "iiif_proxy_cache_evictions", "Entries evicted", labels=["store"]
        )
        swept = GaugeMetricFamily(
            "iiif_proxy_cache_last_sweep_seconds", "When the last sweep ended", labels=["store"]
        )
        for name, folder in self._stores.items():
            if not folder.is_dir():
                continue
            with suppress(OSError):
                size.add_metric([name], history.total(str(folder)))
            last = history.last(str(folder))
            evicted.add_metric([name], last.evicted)
            if last.at:
                entries.add_metric([name], last.entries)
                swept.add_metric([name], last.at)
        return [size, entries, evicted, swept]


class Checks(Collector):
    """Origins, folders, the cache: as `/-/health?deep`, which remembers for some seconds."""

    def __init__(self, checks: Callable[[], Mapping[str, bool]]) -> None:
        self._checks = checks

    def collect(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            "iiif_proxy_check_ok", "1 if well: origins, folders, cache, space", labels=["check"]
        )
        for name, well in self._checks().items():
            state.add_metric([name], float(well))
        return [state]
