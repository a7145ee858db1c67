"""`make run`: pictures are drawn, the origin behaves, the proxy comes up, the page zooms."""

import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from iiif_proxy.demo import pictures
from iiif_proxy.demo.index import page
from iiif_proxy.demo.origin import serving

STATIC = Path(__file__).parent.parent / "iiif_proxy" / "web" / "static"
AWKWARD = "a b/ü & 100% <x>.jpg"


def get(url: str, **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=fields)
    return urllib.request.urlopen(request, timeout=20)


def status(url: str, **headers: str) -> int:
    try:
        with get(url, **headers) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map small enough for tests, and a name that needs every kind of escaping."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "a b").mkdir()
    lying, exif = pictures.on_its_side(pictures.portrait().resize((750, 1000)))
    lying.save(folder / AWKWARD, exif=exif)
    pictures.compass(400).save(folder / "compass.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


# The origin


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    with serving(folder, lambda: b"<p>index") as url:
        yield url


def test_origin_serves_files_and_one_page(origin: str, folder: Path) -> None:
    with get(f"{origin}/compass.png") as answer:
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Last-Modified"]
        assert answer.read() == (folder / "compass.png").read_bytes()
    with get(f"{origin}/{quote(AWKWARD)}") as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
    with get(f"{origin}/") as answer:
        assert answer.read() == b"<p>index"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["/none.png", "/a%20b/", "/../conftest.py", "/%2e%2e/x"])
def test_origin_lists_no_folder_and_leaves_none(origin: str, path: str) -> None:
    assert status(origin + path) == 404


def test_origin_answers_conditional_requests(origin: str) -> None:
    with get(f"{origin}/compass.png") as answer:
        etag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
    assert status(f"{origin}/compass.png", If_None_Match=f'"other", W/{etag}') == 304
    assert status(f"{origin}/compass.png", If_None_Match='"other"') == 200
    assert status(f"{origin}/compass.png", If_Modified_Since=modified) == 304


def test_origin_tag_follows_the_file(origin: str, folder: Path) -> None:
    file = folder / "changing.png"
    tags = set()
    for side in (10, 11):
        Image.new("L", (side, side)).save(file)
        with get(f"{origin}/changing.png") as answer:
            tags.add(answer.headers["ETag"])
    file.unlink()
    assert len(tags) == 2


def test_origin_does_not_mind_who_hangs_up(
    origin: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    host, port = origin.removeprefix("http://").split(":")
    reset = struct.pack("ii", 1, 0)  # close() with this is an RST
    path = quote(AWKWARD).encode()
    for request in (b"", b"GET /", b"GET /" + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"):
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(request)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    for _ in range(3):
        assert status(f"{origin}/compass.png") == 200
    assert capfd.readouterr().err == ""


# The pictures and their page


def test_index_names_every_picture_once(folder: Path) -> None:
    text = page(folder, "/iiif").decode()
    assert re.findall(r"<h2><a[^>]*>(.*?)</a>", text) == [
        "a b/ü &amp; 100% &lt;x&gt;.jpg",
        "compass.png",
    ]
    identifier = quote(AWKWARD, safe="")
    assert f'"/iiif/3/{identifier}/info.json"' in text
    assert f'"/iiif/2/{identifier}/info.json"' in text
    assert f'"/iiif/-/view/{identifier}"' in text
    assert f'"/{quote(AWKWARD)}"' in text


def test_index_of_an_empty_folder(tmp_path: Path) -> None:
    assert b"no picture in this folder" in page(tmp_path, "/iiif")


def test_portrait_lies_on_its_side() -> None:
    upright = pictures.portrait()
    lying, exif = pictures.on_its_side(upright)
    assert upright.size == (1500, 2000)
    assert lying.size == (2000, 1500)
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)
    with Image.open(file) as opened:
        assert opened.getexif()[0x0112] == 6
    assert lying.transpose(Image.Transpose.ROTATE_270).tobytes() == upright.tobytes()


def test_compass_is_opaque_translucent_and_clear() -> None:
    alpha = pictures.compass(400).getchannel("A")
    assert alpha.getpixel((2, 2)) == 0
    assert alpha.getpixel((200, 200)) == 255
    assert set(range(60, 200)) & {value for _, value in alpha.getcolors() or []}


# All together


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(port: int, cache: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "iiif_proxy.demo", "--bind", f"127.0.0.1:{port}", *more]
    return subprocess.Popen(
        command,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "IIIF_PROXY_WORKERS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The base URL of a running demo with its own pictures, and what it printed."""
    port = free_port()
    process = start(port, tmp_path_factory.mktemp("cache"))
    assert process.stdout
    assert process.stderr
    try:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said + process.stderr.read()
            said += line
        yield f"http://127.0.0.1:{port}", said
    finally:
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in complaints, complaints
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_every_link_answers(demo: tuple[str, str]) -> None:
    urls = re.findall(r"http://\S+", demo[1])
    assert f"{demo[0]}/iiif/-/view/map.jpg" in urls
    assert len(urls) == len(set(urls)) > 10
    assert {url: status(url) for url in urls} == dict.fromkeys(urls, 200)


def test_every_link_of_the_page_answers(demo: tuple[str, str]) -> None:
    with get(demo[0] + "/") as answer:
        paths = set(re.findall(r'(?:href|src)="(/[^"]*)"', answer.read().decode()))
    assert len(paths) > 20
    assert {path: status(demo[0] + path) for path in paths} == dict.fromkeys(paths, 200)


def test_pictures_are_what_was_drawn(demo: tuple[str, str]) -> None:
    def info(identifier: str) -> tuple[int, int]:
        with get(f"{demo[0]}/iiif/3/{identifier}/info.json") as answer:
            document = json.load(answer)
        return document["width"], document["height"]

    assert info("map.jpg") == (8000, 6000)
    assert info("people%2Fportrait.jpg") == (1500, 2000)  # upright
    assert info("signs%2Fcompass.png") == (1600, 1600)


def test_page_zooms_in_a_browser(demo: tuple[str, str], context: BrowserContext) -> None:
    if not (STATIC / "openseadragon" / "openseadragon.min.js").is_file():
        pytest.skip("OpenSeadragon is not here (make openseadragon)")
    page = shown(context, f"{demo[0]}/iiif/-/view/map.jpg")
    expect(page.locator("body")).to_have_attribute("data-state", re.compile("open|loaded"))
    expect(page.locator("#facts")).to_have_text(re.compile(r"8000 × 6000 · [\d.]+ %"))
    address = re.compile(r"/iiif/3/map\.jpg/full/![\d,]+/0/default\.jpg$")
    expect(page.locator("#open")).to_have_attribute("href", address)


def test_page_of_an_unknown_picture_says_so(demo: tuple[str, str], context: BrowserContext) -> None:
    page = shown(context, f"{demo[0]}/iiif/-/view/none.jpg")
    expect(page.locator("body")).to_have_attribute("data-state", "plain")
    said = "No source has an image with this identifier.|not installed here"
    expect(page.locator("body")).to_contain_text(re.compile(said))


def shown(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    return page


def test_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process = start(other.getsockname()[1], tmp_path)
        said, complaint = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert re.fullmatch(
        r"127\.0\.0\.1:\d+ cannot be used \(address already in use\): [^\n]*\n", complaint
    )


@pytest.mark.parametrize(
    "more, variables, sentence",
    [
        (["--images", "/no/such/folder"], {}, "/no/such/folder is not a folder.\n"),
        (["--bind", "8182"], {}, "8182 is not HOST:PORT, such as 127.0.0.1:8182.\n"),
        ([], {"IIIF_PROXY_TILE_SIZ": "256"}, "IIIF_PROXY_TILE_SIZ: no such setting"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, more: list[str], variables: dict[str, str], sentence: str
) -> None:
    process = start(free_port(), tmp_path, *more, **variables)
    said, complaint = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert complaint.startswith(sentence)
    assert complaint.count("\n") == 1


def test_pictures_of_ones_own(folder: Path, tmp_path: Path) -> None:
    """Names with spaces, umlauts and per cent survive; Ctrl-C, as a terminal sends it, ends all."""
    port = free_port()
    process = start(port, tmp_path, "--images", str(folder))
    assert process.stdout
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    url = f"http://127.0.0.1:{port}/iiif/3/{quote(AWKWARD, safe='')}"
    try:
        with get(f"{url}/full/,100/0/default.png") as answer:
            assert Image.open(io.BytesIO(answer.read())).size == (75, 100)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, complaint = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "Traceback" not in complaint, complaint
