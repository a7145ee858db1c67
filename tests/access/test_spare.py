"""What is made in spare time: one at a time, after everybody else, and not for ever."""

import threading
from pathlib import Path

import pytest

from iiif_proxy.concurrency import Spare
from iiif_proxy.errors import Busy
from tests.access.conftest import Housing

POLICY = '[classes.public]\ncreate = "declared"\noutside = "unstored"'


def test_one_at_a_time_and_while_nobody_waits() -> None:
    spare, inside, leave = Spare(), threading.Event(), threading.Event()
    asked: list[int] = []

    def busy() -> bool:
        asked.append(1)
        return len(asked) < 3  # The third look finds nobody.

    def first() -> None:
        with spare.enter(busy, 30):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    assert len(asked) == 3
    with pytest.raises(Busy) as refused, spare.enter(lambda: False, 0):
        pass
    assert int(refused.value.headers["Retry-After"]) > 0
    leave.set()
    thread.join(30)
    with spare.enter(lambda: False, 0):
        pass
    with pytest.raises(Busy), spare.enter(lambda: True, 0):
        pass
    with spare.enter(lambda: False, 0):
        pass


def test_others_go_first(house: Housing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = house(POLICY, queue_timeout="0s")
    free, kept = "/iiif/3/a.png/full/77,/0/default.jpg", "/iiif/3/a.png/full/75,50/0/default.jpg"
    assert here.ask(free).status == 200
    assert here.ask(kept).status == 200
    monkeypatch.setattr(here.proxy.service, "busy", lambda: True)
    heard = here.ask(free)
    assert heard.status == 503
    assert heard.get("Retry-After")
    assert here.ask(kept.replace("75,50", "150,100")).status == 200
    assert len(here.stored()) == 2
