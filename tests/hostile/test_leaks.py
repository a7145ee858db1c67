"""Every kind of error, in every form: one sentence that tells nothing of the inside; and what a
browser may do with what we send."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iiif_proxy.proxy import IIIFProxy
from tests.ahead.conftest import encoded, photograph
from tests.hostile.conftest import Place
from tests.hostile.test_grammar import environ_of
from tests.servers import Origin, ask, get, reply

FORMS = ["text/plain", "text/html", "application/json"]
PNG = encoded(photograph((60, 40)), "PNG")
GIVES: dict[str, bytes] = {
    "/unauthorized": reply(401, body=b"secret"),
    "/forbidden": reply(403, body=b"secret"),
    "/rate": reply(429, [("Retry-After", "7")], b"secret"),
    "/fails": reply(500, body=b"Traceback secret"),
    "/page": reply(200, [("Content-Type", "text/html")], b"<html>secret"),
    "/empty": reply(200),
    "/cut": reply(200, body=PNG[:200]),
    "/away": reply(302, [("Location", "http://10.0.0.1/secret")]),
    "/circle": reply(302, [("Location", "/circle")]),
    "/junk": b"secret\r\n\r\n",
    "/script": reply(200, body=b"%!PS-Adobe-3.0\n(secret) show\n"),
    "/picture": reply(200, body=PNG),
}
ASKED = {
    **dict.fromkeys(GIVES),
    "/unknown": 404, "/unauthorized": 401, "/forbidden": 403, "/rate": 429, "/picture": 200,
}  # fmt: skip


def answered(
    proxy: Callable[..., Any], target: str, **changes: str
) -> tuple[int, dict[str, str], bytes]:
    seen: list[Any] = []
    body = proxy(environ_of(target) | changes, lambda *said: seen.append(said))
    try:
        data = b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
    status, fields, *_ = seen[-1]
    return int(status[:3]), dict(fields), data


@pytest.fixture
def inside() -> Iterator[Origin]:
    with Origin() as origin:
        origin.default = reply(404, body=b"secret")
        origin.routes.update(GIVES)
        yield origin


def tells_nothing(body: bytes, *secrets: str) -> None:
    for secret in ("Traceback", "secret", ".py", "site-packages", "Errno", "0x7f", *secrets):
        assert secret.encode() not in body, body


@pytest.mark.parametrize("form", FORMS)
def test_no_error_tells_of_the_inside(inside: Origin, tmp_path: Path, form: str) -> None:
    folder, cache = tmp_path / "pictures", tmp_path / "cache"
    folder.mkdir()
    (folder / "broken.png").write_bytes(PNG[:100])
    (folder / "text.png").write_bytes(b"secret")
    (folder / "one.png").write_bytes(PNG)
    dead = "http://127.0.0.1:9"
    hidden = (str(tmp_path), inside.url.removeprefix("http://"), "127.0.0.1", "10.0.0.1", "shm")
    cases: list[tuple[str, str, set[int]]] = [
        (f"{inside.url}/{{id}}", name[1:], {status} if status else {502})
        for name, status in ASKED.items()
    ]
    cases += [
        (dead + "/{id}", "a", {502}),
        ("http://no-such-host.invalid/{id}", "a", {502}),
        (f"file:{folder}/{{id}}", "broken.png", {502}),
        (f"file:{folder}/{{id}}", "text.png", {502}),
        (f"file:{folder}/{{id}}", "none.png", {404}),
        (f"file:{folder}/{{id}}", "../other", {400}),
        (f"file:{tmp_path}/gone/{{id}}", "none.png", {404}),
        ("app:/{id}", "raises", {500, 502}),
        ("app:/{id}", "nonsense", {500, 502}),
    ]
    for source, name, expected in cases:
        proxy = IIIFProxy(failing, environ={}, source=source, cache_dir=cache)
        for tail in ("full/max/0/default.jpg", "info.json"):
            target = f"/iiif/3/{name.replace('/', '%2F')}/{tail}"
            status, fields, body = answered(proxy, target, HTTP_ACCEPT=form)
            if tail == "info.json" and status == 200:
                continue  # The header of a picture that is cut off says enough.
            assert status in expected, (name, tail, status, body)
            if status < 400:
                continue
            tells_nothing(body, *hidden)
            tells_nothing(repr(fields).encode(), *hidden)
            assert fields["Content-Type"].startswith(form)
            assert fields["X-Content-Type-Options"] == "nosniff"
            if form == "text/html":
                assert "script-src 'self'" in fields["Content-Security-Policy"]
            proxy.service._sessions.close()


def failing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    if environ["PATH_INFO"].endswith("raises"):
        raise RuntimeError("secret of /home/somebody/app.py")
    start_response("nonsense", [("Content-Type", "secret")])
    return [b"secret"]


def test_a_fault_of_our_own_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    proxy = IIIFProxy(environ={}, source=f"file:{tmp_path}/{{id}}", cache_dir="", origin="http://h")

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError(f"secret {tmp_path}")

    monkeypatch.setattr(proxy.service, "info", broken)
    for form in FORMS:
        status, _, body = answered(proxy, "/iiif/3/one.png/info.json", HTTP_ACCEPT=form)
        assert status == 500
        tells_nothing(body, str(tmp_path))


PAGES = [
    "/iiif/-/", "/iiif/-/view/one.png", "/iiif/-/compare/one.png/one.png",
    "/iiif/-/annotate/one.png", "/iiif/-/explain/3/one.png/full/0,/0/default.jpg",
    "/iiif/3/one.png/full/0,/0/default.jpg", "/iiif/3/none.png/info.json",
    "/iiif/-/view/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/iiif/-/explain/3/%3Cscript%3E/full/max/0/%22onload=.jpg",
]  # fmt: skip


def test_pages_run_no_script_but_ours_and_are_framed_by_nobody(place: Place) -> None:
    for target in [*PAGES, "/iiif/-/nothing", "/iiif/3/one.png/full/max/361/default.jpg"]:
        answer = ask(place.served.port, get(target, "Accept: text/html"))
        rules = dict(
            rule.strip().partition(" ")[::2]
            for rule in (answer.get("Content-Security-Policy") or "").split(";")
        )
        assert rules["frame-ancestors"] == "'none'", target
        assert rules["object-src"] == rules["base-uri"] == "'none'"
        for name in ("default-src", "script-src", "style-src"):
            assert "unsafe" not in rules[name]
            assert "*" not in rules[name]
        assert answer.get("X-Content-Type-Options") == "nosniff"
        assert b"<script>" not in answer.body
        assert b" onload=" not in answer.body


def test_every_answer_of_ours_is_what_it_says(place: Place) -> None:
    targets = [
        "/iiif/3/one.png/full/max/0/default.jpg", "/iiif/3/one.png/info.json", "/iiif/3/one.png",
        "/iiif/3/one.png/manifest.json", "/iiif/3/none/info.json", "/iiif/-/health",
        "/iiif/-/metrics", "/iiif/-/static/pages.css", "/iiif/-/presets",
        "/iiif/3/one.png/full/1,1,/0/default.jpg",
    ]  # fmt: skip
    for target in targets * 2:
        answer = ask(place.served.port, get(target))
        assert answer.all("X-Content-Type-Options") == ["nosniff"], target
