"""What comes back has the size it must have: SPEC.md 1 to 12, 14, 15, 17 to 20, decoded.

A row is a source, a request below `/{version}/{id}/`, and what it must be in 2.1 and in 3.0: a
size, or a status. A request of two segments gets `/0/default.jpg`.
"""

import pytest

from tests.http.conftest import Proxy, Serving

Result = tuple[int, int] | int
Row = tuple[str, str, Result, Result]


def both(source: str, result: Result, *requests: str) -> list[Row]:
    return [(source, request, result, result) for request in requests]


SMALL = "300x200.png"
BIG = "6000x4000.jpg"
PLAIN: list[Row] = [
    # 1. pct regions: rounded, not floored
    *both(SMALL, (175, 185), "pct:41.6,7.5,66.6,100/max"),
    *both(SMALL, (120, 140), "pct:41.6,7.5,40,70/max"),
    *both(SMALL, (150, 100), "pct:50,50,100,100/max"),
    # 2. past the edge
    *both(SMALL, (175, 185), "125,15,200,200/max"),
    *both(SMALL, (300, 200), "0,0,9999,9999/max"),
    # 3. empty, outside, ill-formed
    *both(SMALL, (1, 1), "299,199,5,5/max"),
    *both(
        SMALL, 400,
        "300,0,1,1/max", "0,200,1,1/max", "0,0,0,10/max", "0,0,10,0/max", "pct:0,0,0,10/max",
        "pct:100,0,10,10/max", "-1,0,9,9/max", "+1,0,9,9/max", "0.5,0,9,9/max", "0,0,10/max",
        "0,0,10,10,10/max", "1_0,0,9,9/max", "%D9%A1,0,9,9/max", "pct:0,0,0.1,0.1/max",
        "Full/max", "pct:1,1,1/max", "pixels:0,0,9,9/max", "%20full/max", "full%0A/max",
    ),
    # 4. square
    *both("301x200.png", (200, 200), "square/max"),
    *both("200x301.png", (200, 200), "square/max"),
    # 5. w, and ,h
    *both(BIG, (1000, 667), "full/1000,"),
    *both(BIG, (1500, 1000), "full/,1000"),
    *both("1000x3.png", (100, 1), "full/100,"),
    *both(SMALL, (100, 67), "full/pct:33.3"),
    *both(
        SMALL, 400,
        "full/0,", "full/,0", "full/0,0", "full/,", "full/!100,", "full/!,100", "full/100",
        "full/pct:0", "full/pct:-5", "full/pct:1e2", "full/pct:0.1", "full/pct:", "full/pct:1,2",
        "full/-1,", "full/1.5,", "full/1,2,3", "full/%D9%A1,", "full/Max", "full/%20100,",
        "full/100,%0A",
    ),
    # 6. !w,h meets the side that limits exactly
    *both("3001x2000.jpg", (1000, 666), "full/!1000,1000"),
    *both(SMALL, (150, 100), "full/!225,100"),
    *both("4961x7016.jpg", (707, 1000), "full/!1000,1000"),
    # 7. !w,h larger than the region shrinks to it
    *both(SMALL, (300, 200), "full/!1000,1000"),
    *both(SMALL, (100, 50), "0,0,100,50/!1000,1000"),
    # 8. never above the region without leave
    *both(SMALL, 400, "full/301,", "full/,201", "full/301,200", "full/300,201", "full/pct:100.1"),
    *both(SMALL, (300, 200), "full/300,200", "full/pct:100", "full/300,", "full/,200"),
    *both(BIG, 400, "0,0,100,100/200,200", "full/600000,"),
    *both(SMALL, (300, 100), "full/300,100"),
    # 9. the caret, upscaling off
    *[
        (SMALL, request, 400, result)
        for request, result in [
            ("full/^600,", 501), ("full/^pct:120", 501), ("full/^,201", 501),
            ("full/^301,200", 501), ("full/^!600,600", 501), ("full/^150,", (150, 100)),
            ("full/%5E150,", (150, 100)), ("full/^max", (300, 200)), ("full/^!150,150", (150, 100)),
            ("full/,^240", 400), ("full/!^9,9", 400), ("full/^^9,", 400), ("full/^full", 400),
            ("full/^", 400), ("full/^0,", 400),
        ]
    ],
    # 12. full as a size
    *[(SMALL, "full/full", (300, 200), 400), (SMALL, "0,0,30,20/full", (30, 20), 400)],
    # 14. declared sizes
    *both("2609x3424.jpg", (164, 214), "full/164,214"),
    ("2609x3424.jpg", "full/327,428", (327, 428), (327, 428)),
    # 17. formats
    *both(SMALL, 400, *[f"full/max/0/default.{bad}" for bad in ("xyz", "JPG", "jpeg", "jp")]),
    *both(SMALL, 400, "full/max/0/default.", "full/max/0/default"),
    *both("20000x100.png", 400, "full/max/0/default.webp"),
    *both("20000x100.png", (20000, 100), "full/max/0/default.jpg"),
    # 16. words of version 1
    *both(SMALL, 400, *[f"full/max/0/{bad}.jpg" for bad in ("native", "grey", "sepia", "Gray")]),
    # 18. rotation values
    *both(SMALL, (300, 200), *[f"full/max/{ok}/default.jpg" for ok in ("0", "360", "!0", "!360")]),
    *both(
        SMALL, 400,
        *[
            f"full/max/{bad}/default.jpg"
            for bad in ("360.1", "-90", "+90", "1e1", "nan", "inf",
                "!", "!!0", "90%C2%B0", "%D9%A1")
        ],
    ),
    # 19. rotation's box
    *both(SMALL, (200, 300), "full/max/90/default.png", "full/max/!270/default.jpg"),
    *both(SMALL, (300, 200), "full/max/180/default.png"),
    *both(SMALL, (354, 300), "full/max/22.5/default.png"),
    *both(SMALL, (354, 354), "full/max/45/default.png", "full/max/!315/default.jpg"),
    *both(SMALL, (114, 125), "125,15,120,140/90,/!345/gray.jpg"),
    # 20. size before rotation
    *both(SMALL, (25, 50), "0,0,100,50/50,/90/gray.png"),
    *both(SMALL, (67, 100), "full/100,/90/default.jpg"),
]  # fmt: skip


def check(proxy: Proxy, version: int, source: str, request: str, expected: Result) -> None:
    if request.count("/") == 1:
        request += "/0/default.jpg"
    target = f"/{version}/{source}/{request}"
    if isinstance(expected, int):
        answer = proxy.ask(target)
        assert (answer.status, answer.get("Content-Type")) == (
            expected,
            "text/plain; charset=utf-8",
        ), answer.body
        return
    width, height = proxy.image(target).size
    spare = 1 if any(angle in request for angle in ("/22.5/", "/45/", "15/", "345/")) else 0
    assert abs(width - expected[0]) <= spare, (width, height)
    assert abs(height - expected[1]) <= spare, (width, height)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("source, request_, two, three", PLAIN)
def test_size(
    proxy: Proxy, version: int, source: str, request_: str, two: Result, three: Result
) -> None:
    check(proxy, version, source, request_, two if version == 2 else three)


def test_edge_tile_asked_by_width_alone(proxy: Proxy) -> None:
    """SPEC 15: the height that the tile is laid out with (exact aspect: 259, and a seam)."""
    assert proxy.image("/3/2609x3424.jpg/2048,0,561,2048/71,256/0/default.jpg").size == (71, 256)
    assert proxy.image("/2/2609x3424.jpg/2048,0,561,2048/141,/0/default.jpg").size == (141, 512)
    assert proxy.image("/2/3073x3073.jpg/3072,0,1,1024/1,512/0/default.jpg").size == (1, 512)
    assert proxy.image("/2/3073x3073.jpg/3072,0,1,1024/1,/0/default.jpg").size == (1, 512)


ENLARGING = {"upscaling": "on", "max_width": 1000}
ENLARGED: list[Row] = [
    *both(SMALL, (600, 400), "full/^600,"),
    *both(SMALL, (1000, 667), "full/^max", "full/^!1000,1000", "full/^!5000,5000"),
    *both(SMALL, (600, 400), "full/^pct:200"),
    *both(SMALL, (360, 240), "full/^!360,360", "full/^,240"),
    *both(SMALL, 400, "full/^1001,", "full/^,1001"),
    *both(SMALL, 400, "full/,^240", "full/!^9,9", "full/^^9,", "full/^full", "full/^pct:0"),
]


@pytest.mark.parametrize("source, request_, _two, three", ENLARGED)
def test_enlarging_in_version_3(
    serving: Serving, source: str, request_: str, _two: Result, three: Result
) -> None:
    check(serving(**ENLARGING), 3, source, request_, three)


@pytest.mark.parametrize(
    "request_, two, three",
    [
        ("full/600,", (600, 400), 400),
        ("full/,400", (600, 400), 400),
        ("full/pct:200", (600, 400), 400),
        ("full/300,201", (300, 201), 400),
        ("full/max", (300, 200), (300, 200)),
        ("full/!1000,1000", (300, 200), (300, 200)),
        ("full/1001,", 400, 400),
        ("full/^600,", 400, (600, 400)),
    ],
)
def test_enlarging_without_a_caret(
    serving: Serving, request_: str, two: Result, three: Result
) -> None:
    """SPEC 7 and 8: sizeAboveFull is 2.1's, and not for max and !w,h."""
    check(serving(**ENLARGING), 2, SMALL, request_, two)
    check(serving(**ENLARGING), 3, SMALL, request_, three)


LIMITED: list[tuple[dict[str, int], str, str, Result, Result]] = [
    # 10. what the limits mean
    ({"max_width": 1000}, "4000x6000.jpg", "full/max", (667, 1000), (667, 1000)),
    ({"max_width": 3000, "max_height": 1000}, BIG, "full/max", (1500, 1000), (1500, 1000)),
    ({"max_area": 10000}, SMALL, "full/max", (122, 81), (122, 81)),
    (
        {"max_width": 3000, "max_height": 2000, "max_area": 4000000},
        BIG, "full/max", (2449, 1632), (2449, 1632),
    ),
    # 11. beyond them
    *[
        ({"max_width": 3000}, BIG, request, two, three)
        for request, two, three in [
            ("full/3001,", 400, 400), ("full/4000,3000", 400, 400), ("full/pct:51", 400, 400),
            ("full/3000,", (3000, 2000), (3000, 2000)), ("full/max", (3000, 2000), (3000, 2000)),
            ("full/!5000,5000", (3000, 2000), (3000, 2000)), ("full/full", 400, 400),
            ("0,0,1000,1000/max", (1000, 1000), (1000, 1000)), ("full/^max", 400, (3000, 2000)),
        ]
    ],
    ({"max_width": 1000}, "1000x1000.png", "full/max/45/default.png", (1414, 1414), (1414, 1414)),
    ({"max_width": 1000}, "1000x1000.png", "full/max/0/default.png", (1000, 1000), (1000, 1000)),
]  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("limits, source, request_, two, three", LIMITED)
def test_limits(
    serving: Serving,
    version: int,
    limits: dict[str, int],
    source: str,
    request_: str,
    two: Result,
    three: Result,
) -> None:
    check(serving(**limits), version, source, request_, two if version == 2 else three)


def test_private_cap_on_pixels(serving: Serving) -> None:
    """IIIF/api#1897: turning makes an image larger than any declared limit."""
    proxy = serving(max_pixels=61_000)
    assert proxy.image(f"/3/{SMALL}/full/max/0/default.png").size == (300, 200)
    assert proxy.ask(f"/3/{SMALL}/full/max/45/default.png").status == 400
    assert proxy.image(f"/3/{SMALL}/full/150,/45/default.png").width == 177


def test_rotation_switched_off(serving: Serving) -> None:
    """SPEC 18."""
    proxy = serving(rotation_arbitrary="off", formats="png jpg webp")
    assert proxy.ask(f"/3/{SMALL}/full/max/22.5/default.png").status == 400
    assert proxy.image(f"/3/{SMALL}/full/max/!270/default.png").size == (200, 300)
