"""What takes long may be made while nobody waits for it."""

import io
import time

from PIL import Image

from tests.clients import Answer
from tests.http.conftest import Proxy, Serving

LARGE = "/3/large.png/full/1301,/0/default.jpg"


def until_made(proxy: Proxy, target: str) -> Answer:
    deadline = time.monotonic() + 60
    while (answer := proxy.ask(target)).status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def test_503_at_once_then_the_image_itself(serving: Serving) -> None:
    proxy = serving(expensive="later", expensive_pixels=1_000_000)
    first = proxy.ask(LARGE)
    assert first.status == 503
    assert 1 <= int(first.get("Retry-After") or 0) <= 60
    assert first.get("Cache-Control") == "no-store"
    assert first.body == b"This image is being made: ask again.\n"
    made = until_made(proxy, LARGE)
    assert made.status == 200
    assert "no-store" not in (made.get("Cache-Control") or "")
    assert made.body == serving().ask(LARGE).body
    assert proxy.ask(LARGE).get("Cache-Status") == "iiif-proxy; hit"


def test_what_is_cheap_is_waited_for(serving: Serving) -> None:
    proxy = serving(expensive="later", expensive_pixels=1_000_000)
    assert proxy.ask("/3/316x200.png/full/max/0/default.jpg").status == 200
    assert proxy.ask("/3/large.png/info.json").status == 200


def test_a_smaller_one_meanwhile_that_nobody_keeps(serving: Serving) -> None:
    proxy = serving(expensive="smaller", expensive_pixels=1_500_000, predict="off")
    half, whole = "/3/large.png/full/651,551/0/default.jpg", "/3/large.png/full/max/0/default.jpg"
    assert proxy.ask("/3/large.png/full/max/0/gray.jpg").status == 503
    small = until_made(proxy, half)
    meanwhile = proxy.ask(whole)
    assert meanwhile.status == 200
    assert meanwhile.body == small.body
    assert meanwhile.get("Cache-Control") == "no-store"
    assert meanwhile.get("Cache-Status") == "iiif-proxy; fwd=miss; detail=smaller"
    assert meanwhile.get("ETag") is None
    deadline = time.monotonic() + 60
    while (last := proxy.ask(whole)).get("Cache-Control") == "no-store":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert last.status == 200
    assert Image.open(io.BytesIO(last.body)).size == (1301, 1102)


def test_what_cannot_be_made_is_told(serving: Serving) -> None:
    proxy = serving(expensive="later", expensive_pixels=1)
    answer = until_made(proxy, "/3/broken.png/full/max/0/default.jpg")
    assert answer.status == 502
    assert proxy.ask("/3/nothing/full/max/0/default.jpg").status == 404
