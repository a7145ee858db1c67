"""Publishing, unpublishing, changed sources, purges and evictions, all at once, under load.

Every picture says which source, which version of it and which tile it is. Whoever asks after
somebody has had version n of a source gets version n or a later one; after a purge, what the
origin had when it was purged.
"""

import contextlib
import io
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from PIL import Image

from tests.clients import Answer, Client, get
from tests.published.site import Site

SEED = 7
# At least, and at most until enough has happened.
SECONDS, PATIENCE = 7.0, 60.0
ENOUGH = 20
READERS = 6
SOURCES = 4
ACROSS, DOWN, SIDE = 4, 3, 128
WIDTH, HEIGHT = ACROSS * SIDE, DOWN * SIDE
VERSIONS = 22


def picture(source: int, version: int) -> bytes:
    """Red is the version, green the source, blue the tile."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for tile in range(ACROSS * DOWN):
        y, x = divmod(tile, ACROSS)
        colour = (10 * version + 10, 50 * source + 20, 20 * tile + 10)
        image.paste(colour, (x * SIDE, y * SIDE, (x + 1) * SIDE, (y + 1) * SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def said(image: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    """Version, source and tile of one place."""
    red, green, blue = image.getpixel((x, y))  # type: ignore[misc]  # RGB
    for value, unit in ((red - 10, 10), (green - 20, 50), (blue - 10, 20)):
        rest = value % unit
        assert min(rest, unit - rest) <= 4, ("no colour of ours", red, green, blue)
    return round((red - 10) / 10), round((green - 20) / 50), round((blue - 10) / 20)


@dataclass
class Ledger:
    """What the origin has, and what somebody has seen of it: each is only ever raised."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    at_origin: list[int] = field(default_factory=lambda: [0] * SOURCES)
    seen: list[int] = field(default_factory=lambda: [0] * SOURCES)
    faults: list[str] = field(default_factory=list)
    by_nginx: int = 0
    by_python: int = 0
    changes: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        enough = min(self.changes, self.by_nginx, self.by_python) > ENOUGH
        return time.monotonic() - self.begun > (SECONDS if enough else PATIENCE)

    def floor(self, source: int) -> int:
        with self.lock:
            return self.seen[source]

    def raised(self, source: int, version: int) -> None:
        with self.lock:
            self.seen[source] = max(self.seen[source], version)


def target_of(source: int, chance: random.Random) -> tuple[str, int | None]:
    """An address, and the tile it shows: None for the whole."""
    tile = chance.randrange(ACROSS * DOWN)
    y, x = divmod(tile, ACROSS)
    region = f"{x * SIDE},{y * SIDE},{SIDE},{SIDE}"
    kinds: list[tuple[str, int | None]] = [
        (f"3/{{}}/{region}/64,64/0/default.jpg", tile),
        (f"3/{{}}/{region}/{SIDE},{SIDE}/0/default.jpg", tile),
        (f"3/{{}}/{region}/32,32/0/default.png", tile),
        (f"2/{{}}/{region}/64,/0/default.jpg", tile),
        (f"2/{{}}/{region}/{SIDE},/0/default.jpg", tile),
        ("3/{}/full/256,192/0/default.jpg", None),
        ("2/{}/full/256,/0/default.jpg", None),
        ("3/{}/full/!128,128/0/default.jpg", None),
    ]
    tail, shown = chance.choice(kinds)
    return "/iiif/" + tail.format(f"s%2F{source}.png"), shown


def check(answer: Answer, source: int, tile: int | None) -> int:
    """The version of a picture, which is that of all its places."""
    assert (answer.status, answer.whole) == (200, True), (answer.status, answer.body[:100])
    with Image.open(io.BytesIO(answer.body)) as opened:
        image = opened.convert("RGB")
    versions = set()
    if tile is not None:
        version, found, shown = said(image, image.width // 2, image.height // 2)
        assert (found, shown) == (source, tile)
        return version
    for number in range(ACROSS * DOWN):
        y, x = divmod(number, ACROSS)
        at_x = (2 * x + 1) * image.width // (2 * ACROSS)
        at_y = (2 * y + 1) * image.height // (2 * DOWN)
        version, found, shown = said(image, at_x, at_y)
        assert (found, shown) == (source, number)
        versions.add(version)
    assert len(versions) == 1, versions
    return versions.pop()


def read(site: Site, ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(site.nginx))
        while not ledger.over:
            source = chance.randrange(SOURCES)
            target, tile = target_of(source, chance)
            floor = ledger.floor(source)
            try:
                client.send(get(target).replace(b"Connection: close\r\n", b""))
                answer = client.answer()
                version = check(answer, source, tile)
                with ledger.lock:
                    newest = ledger.at_origin[source]
                assert floor <= version <= newest, f"{version} not in {floor}..{newest}"
            except (AssertionError, OSError) as fault:
                ledger.faults.append(f"{target}: {fault!r}")
                client = stack.enter_context(Client(site.nginx))
                continue
            ledger.raised(source, version)
            if answer.get("Connection") == "close":
                client = stack.enter_context(Client(site.nginx))
            if answer.get("Accept-Ranges"):
                ledger.by_nginx += 1
            else:
                ledger.by_python += 1


def change(site: Site, ledger: Ledger, seed: int) -> None:
    """Sources change at any time; now and then they are purged as well."""
    chance = random.Random(seed)
    while not ledger.over:
        time.sleep(chance.uniform(0.05, 0.25))
        source = chance.randrange(SOURCES)
        with ledger.lock:
            version = ledger.at_origin[source] + 1
            if version >= VERSIONS:
                continue
            ledger.at_origin[source] = version
            site.images[f"/s/{source}.png"] = picture(source, version)
            ledger.changes += 1
        if chance.random() < 0.4:
            site.purge(f"s%2F{source}.png")
            ledger.raised(source, version)


def test_no_wrong_byte(make_site: Callable[..., AbstractContextManager[Site]]) -> None:
    ledger = Ledger()
    # The bound holds about a third of what is asked: evictions all the time.
    with make_site(step=1, workers=2, cache_size="400KiB") as site:
        site.headers = [("Cache-Control", "max-age=3")]
        # Longer than anybody waits for it where there is something stale to show.
        site.late = 0.8
        for source in range(SOURCES):
            site.images[f"/s/{source}.png"] = picture(source, 0)
        ledger.begun = time.monotonic()
        threads = [
            threading.Thread(target=read, args=(site, ledger, SEED + number))
            for number in range(READERS)
        ]
        threads.append(threading.Thread(target=change, args=(site, ledger, SEED)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        assert ledger.faults == []
        assert "Traceback" not in site.served.log()
    # It was a race.
    assert min(ledger.changes, ledger.by_nginx, ledger.by_python) > ENOUGH
