"""Why an address is answered as it is."""

import pytest

from tests.commands.conftest import Command

IMAGE = "/iiif/3/300x200.png"


@pytest.mark.parametrize(
    "path, status, instead",
    [
        ("{}/full/full/0/default.jpg", 400, "{}/full/max/0/default.jpg"),
        ("{}/full/max/0/native.jpg", 400, "{}/full/max/0/default.jpg"),
        ("{}/full/max/0/grey.jpeg", 400, "{}/full/max/0/gray.jpg"),
        ("{}/full/max/-90/default.jpg", 400, "{}/full/max/270/default.jpg"),
        ("{}/full/max/450/default.jpg", 400, "{}/full/max/90/default.jpg"),
        ("{}/full/100x100/0/default.jpg", 400, "{}/full/100,100/0/default.jpg"),
        ("{}/full/100/0/default.jpg", 400, "{}/full/100,/0/default.jpg"),
        ("{}/-10,0,20,20/max/0/default.jpg", 400, "{}/10,0,20,20/max/0/default.jpg"),
        ("{}/1000,0,20,20/max/0/default.jpg", 400, "{}/full/max/0/default.jpg"),
        ("{}/full/600,/0/default.jpg", 400, "{}/full/max/0/default.jpg"),
        ("{}/full/600,600/0/default.jpg", 400, "{}/full/!300,200/0/default.jpg"),
        ("{}/full/max/0/default.bmp", 400, "{}/full/max/0/default.jpg"),
        ("{}/full/max/0/default.jpg", 200, None),
        ("{}/info.json", 200, None),
        ("{}", 303, None),
        ("/iiif/3/nothing/info.json", 404, None),
        ("/iiif/3/a/../b/full/max/0/default.jpg", 400, None),
    ],
)
def test_what_refuses_and_what_to_write(
    command: Command, path: str, status: int, instead: str | None
) -> None:
    code, out, _ = command("explain", path.format(IMAGE))
    assert out.startswith(f"{status}  "), out
    assert code == (status >= 400)
    if instead is None:
        assert "Instead:" not in out
        return
    better = instead.format(IMAGE)
    assert f"Instead:  {better}\n" in out
    assert "The rule: Image API 3, section 4." in out
    assert command("explain", better)[0] == 0  # what is advised is answered


def test_all_faults_are_shown(command: Command) -> None:
    _, out, _ = command("explain", f"{IMAGE}/1,2,3/full/x/native.gif")
    assert out.count("\n! ") == 4
    assert f"{IMAGE}/full/max/0/default.gif" in out


def test_what_it_comes_to(command: Command) -> None:
    _, out, _ = command("explain", f"https://x.example{IMAGE}/square/^50,/0/color.jpg?x=1")
    for text in ("200 × 200 at 50, 0", "50 × 50", "no: the next", "http: /300x200.png"):
        assert text in out
    assert "127.0.0.1" not in out


def test_what_passes_through(command: Command) -> None:
    code, out, _ = command("explain", "/somewhere")
    assert code == 0
    assert "passed through" in out
