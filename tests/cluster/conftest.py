from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from iiif_proxy.stores.bucket import Bucket
from iiif_proxy.stores.disk import DiskStore
from iiif_proxy.stores.shared import SharedStore
from tests.objectstore import ObjectStore
from tests.redisserver import RedisServer


@pytest.fixture
def url(objects: ObjectStore) -> Iterator[str]:
    """A place in the object store of this test's own, and the variables to get there."""
    with objects.environ():
        yield f"s3://tests/{token_hex(8)}"


@pytest.fixture
def told() -> list[str]:
    return []


Machine = Callable[[str], SharedStore]


@pytest.fixture
def machine(url: str, tmp_path: Path, told: list[str]) -> Machine:
    """A store as each machine has it: by its name a disk of its own."""

    def made(name: str) -> SharedStore:
        folder = tmp_path / name
        return SharedStore(
            DiskStore(folder / "derivatives", 64 << 20),
            Bucket(url, pause=0.05),
            folder / "owed",
            lambda key: {"Content-Type": "image/jpeg", "Cache-Control": "max-age=60"},
            told.append,
        )

    return made


@pytest.fixture
def redis(need: Callable[[str], str]) -> Iterator[RedisServer]:
    with RedisServer(need("redis-server")) as redis:
        yield redis
