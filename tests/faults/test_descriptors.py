"""A process without descriptors: what can be answered is, and afterwards all is well."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import Answer, Client
from tests.faults.disk import Place
from tests.faults.pictures import asked, right, serve
from tests.faults.test_disk import place_at
from tests.servers import Origin


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Origin() as origin:
        origin.default = serve
        with place_at(tmp_path_factory.mktemp("few"), origin) as place:
            yield place


@contextlib.contextmanager
def only(place: Place, free: int) -> Iterator[None]:
    """So many more descriptors for the worker."""
    (pid,) = place.served.workers()
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    numbers = (number for number in range(10_000) if number not in taken)
    limit = next(number for index, number in enumerate(numbers) if index == free)
    before = place.limit(resource.RLIMIT_NOFILE, limit)
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before[pid])


def kept(client: Client, path: str) -> Answer:
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\n".encode())
    return client.answer("GET")


def test_few_descriptors(place: Place, tmp_path: Path) -> None:
    """On a connection that is there: the right image or a 5xx, then the right one again."""
    port = place.served.port
    workers = place.served.workers()
    assert right(asked(place.served, "known.png"), "known.png")
    statuses = {}
    for free in range(12):
        with Client(port, 60) as client:
            assert kept(client, "/iiif/-/health").status == 200
            with only(place, free):
                for name in ("known.png", f"few-{free}.png"):
                    answer = kept(client, f"/iiif/3/{name}/full/max/0/default.png")
                    statuses[free, name[:3]] = answer.status
                    assert answer.status in {200, 503}, answer.body
                    assert answer.status == 200 or answer.get("Retry-After") == "5"
                    assert answer.status != 200 or right(answer, name)
                assert kept(client, "/iiif/-/health").status == 200
        for name in ("known.png", f"few-{free}.png"):
            assert right(asked(place.served, name), name)
    assert {statuses[free, "kno"] for free in range(8, 12)} == {200}
    assert place.served.workers() == workers, "nobody died of it"


def test_who_comes_while_there_are_none_is_served_afterwards(place: Place) -> None:
    workers = place.served.workers()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Client(place.served.port, 60))
        assert kept(first, "/iiif/-/health").status == 200
        with only(place, 0):
            waiting = [stack.enter_context(Client(place.served.port, 60)) for _ in range(4)]
            for client in waiting:
                client.send(b"GET /iiif/-/health HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(20):
                assert kept(first, "/iiif/-/health").status == 200
        for client in waiting:
            assert client.answer("GET").status == 200
    assert place.served.workers() == workers, "nobody died of it"
    assert "Traceback" not in place.served.log(), place.served.log()
