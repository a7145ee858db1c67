"""Every fault of the table, through real processes and sockets."""

import contextlib
import re
import time
import uuid
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.clients import Answer, ask, get, reply
from tests.faults.table import FAULTS, GOOD, LONG, ODD, TYPE, Fault, refuses
from tests.http.collection import opened
from tests.servers import Origin, Served

KNOWN = reply(fields=[TYPE, ("ETag", '"1"')], body=GOOD)
LIFTED = reply(fields=[TYPE, ("ETag", '"2"')], body=GOOD)
# What would tell of the inside.
INSIDE = re.compile(rb"Traceback|/tmp|/usr|\.py|127\.0\.0\.1|urllib|Errno")


def seen(served: Served, name: str, size: str = "max", format: str = "png") -> Answer:
    target = f"/iiif/3/{name}/full/{size}/0/default.{format}"
    return ask(served.port, get(target, "Accept: text/plain"), timeout=60)


def is_right(answer: Answer) -> bool:
    image: Image.Image = opened(answer.body).convert("RGB")
    return answer.status == 200 and image.size == (80, 60) and image.getpixel((9, 9)) == (255, 0, 0)


@contextlib.contextmanager
def suffering(origin: Origin, name: str, fault: Fault) -> Iterator[None]:
    origin.routes[f"/{name}"] = fault.does
    origin.routes["/loop"] = fault.does
    with origin.refusing() if fault.does is refuses else contextlib.nullcontext():
        yield


@pytest.fixture
def name() -> str:
    return f"{uuid.uuid4().hex}.png"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_an_image_that_was_never_seen(
    bad_origin: Origin, sidecar: Served, name: str, fault: Fault
) -> None:
    begun = time.monotonic()
    with suffering(bad_origin, name, fault):
        answer = seen(sidecar, name)
    taken = time.monotonic() - begun
    assert answer.status == fault.status, answer.body
    assert taken < LONG * 4, "the time is bounded, whatever the machine has to do beside"
    sentence = answer.body.strip()
    assert sentence.endswith(b".")
    assert b"\n" not in sentence
    assert not INSIDE.search(answer.body)
    for field, value in fault.headers:
        assert answer.get(field) == value
    # Lifted: right at once, whichever process answers.
    bad_origin.routes[f"/{name}"] = LIFTED
    assert all(is_right(seen(sidecar, name)) for _ in range(4))
    assert seen(sidecar, name, "40,30").status == 200


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.stale], ids=lambda f: f.name.replace(" ", "-")
)
def test_an_image_that_was(bad_origin: Origin, sidecar: Served, name: str, fault: Fault) -> None:
    """It goes on being served, and anything else of it is made: its bytes are kept."""
    bad_origin.routes[f"/{name}"] = KNOWN
    assert is_right(seen(sidecar, name))
    with suffering(bad_origin, name, fault):
        stale = seen(sidecar, name)
        assert is_right(stale)
        assert (stale.get("Cache-Status") or "").endswith("; detail=stale")
        assert seen(sidecar, name, "20,15").status == 200


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if not fault.stale],
    ids=lambda f: f.name.replace(" ", "-"),
)
def test_the_origins_no_is_the_answer_at_once(
    bad_origin: Origin, sidecar: Served, name: str, fault: Fault
) -> None:
    bad_origin.routes[f"/{name}"] = KNOWN
    assert is_right(seen(sidecar, name))
    bad_origin.routes[f"/{name}"] = fault.does
    assert seen(sidecar, name).status == fault.status


@pytest.mark.parametrize("odd", ODD)
def test_odd_but_right(bad_origin: Origin, sidecar: Served, name: str, odd: str) -> None:
    bad_origin.routes[f"/{name}"] = ODD[odd]
    assert is_right(seen(sidecar, name))
