"""Presets as visitors meet them: below `/-/`, on the view page, in info.json."""

import html
import json
import re

import pytest

from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import SettingsError
from tests.http.collection import opened
from tests.http.conftest import HOST, Proxy, Serving, canonical

PRESETS = (
    "thumb=full/!100,100/0/default.jpg large=full/200,/0/default.jpg huge=full/^5000,/0/gray.png"
    " card=focus:100,0/80x80/90/default.png lying=16x9/160,/0/default.webp"
)
BASE = f"http://{HOST}/iiif"


@pytest.fixture(scope="module")
def proxy(serving: Serving) -> Proxy:
    return serving(presets=PRESETS)


def test_the_list(proxy: Proxy) -> None:
    answer = proxy.ask("/-/presets")
    assert (answer.status, answer.get("Content-Type")) == (200, "application/json")
    assert answer.get("Access-Control-Allow-Origin") == "*"
    found = json.loads(answer.body)["presets"]
    assert [one["name"] for one in found] == ["thumb", "large", "huge", "card", "lying"]
    assert found[3] == {
        "name": "card", "label": "card", "region": "focus:100,0", "size": "80x80",
        "rotation": "90", "quality": "default", "format": "png",
        "url": f"{BASE}/-/preset/card/{{id}}",
    }  # fmt: skip
    again = proxy.ask("/-/presets", f"If-None-Match: {answer.get('ETag')}")
    assert (again.status, again.body) == (304, b"")


def test_of_an_image(proxy: Proxy) -> None:
    found = proxy.info("/-/presets/300x200.png")
    assert (found["id"], found["identifier"]) == (f"{BASE}/3/300x200.png", "300x200.png")
    shown = {one["name"]: one for one in found["presets"]}
    sizes = {name: (one["width"], one["height"]) for name, one in shown.items()}
    assert sizes == {
        "thumb": (100, 67), "large": (200, 133), "huge": (300, 200), "card": (80, 80),
        "lying": (160, 90),
    }  # fmt: skip
    for one in shown.values():
        answer = proxy.ask(one["url"].removeprefix(BASE))
        assert answer.status == 200
        assert answer.get("Content-Type") == one["mediaType"]
        assert opened(answer.body).size == (one["width"], one["height"])
        assert one["url"].endswith("/3/300x200.png/" + canonical(answer))
    assert shown["card"]["url"].endswith("/100,0,200,200/80,80/90/default.png")
    # All that show the same, for a browser to choose from.
    assert shown["thumb"]["html"] == (
        f'<img src="{shown["thumb"]["url"]}" srcset="{shown["thumb"]["url"]} 100w,'
        f' {shown["large"]["url"]} 200w" sizes="100px" width="100" height="67" alt="">'
    )
    assert shown["thumb"]["markdown"] == f"![](<{shown['thumb']['url']}>)"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ["300x200.png", "a%2Fb.png", "a/b.png"])
def test_a_preset_leads_to_the_image(proxy: Proxy, name: str, method: str) -> None:
    answer = proxy.ask(f"/-/preset/thumb/{name}", method=method)
    location = answer.get("Location") or ""
    assert answer.status == 302
    assert location.startswith(f"{BASE}/3/{name.replace('a/b', 'a%2Fb')}/full/")
    assert answer.get("Cache-Control") == proxy.ask(f"/3/{name}/info.json").get("Cache-Control")
    assert answer.get("Access-Control-Allow-Origin") == "*"
    assert answer.body == (b"" if method == "HEAD" else f"See {location}\n".encode())
    image = proxy.ask(location.removeprefix(BASE))
    assert location.endswith(canonical(image))


def test_a_preset_may_be_the_image(serving: Serving) -> None:
    for redirects in ("off", "on"):
        proxy = serving(
            presets=PRESETS, preset_answer="image", default_version=2, canonical_redirect=redirects
        )
        for _ in range(3):
            answer = proxy.ask("/-/preset/thumb/300x200.png")
            assert answer.status == 200
            assert opened(answer.body).size == (100, 67)
            assert canonical(answer) == "full/100,/0/default.jpg"
        assert answer.get("Cache-Status") == "iiif-proxy; hit"
        tag = f"If-None-Match: {answer.get('ETag')}"
        assert proxy.ask("/-/preset/thumb/300x200.png", tag).status == 304
        assert proxy.ask("/-/preset/thumb/nothing.png").status == 404


@pytest.mark.parametrize(
    "target, status, sentence",
    [
        ("/-/preset/tumb/300x200.png", 404, "There is no preset of this name; there are thumb, "),
        ("/-/preset/tumb", 404, "There is no preset of this name"),
        ("/-/preset/thumb", 400, "The identifier is missing."),
        ("/-/preset/thumb/nothing.png", 404, ""),
        ("/-/preset/thumb/a%2F..%2Fb.png", 400, "The identifier must not climb folders."),
        ("/-/presets/nothing.png", 404, ""),
    ],
)
def test_what_is_not_there(proxy: Proxy, target: str, status: int, sentence: str) -> None:
    answer = proxy.ask(target)
    assert answer.status == status
    assert answer.body.decode().startswith(sentence)
    assert not answer.get("Location")


def test_without_presets(serving: Serving) -> None:
    proxy = serving()
    assert proxy.info("/-/presets") == {"presets": []}
    answer = proxy.ask("/-/preset/thumb/300x200.png")
    assert (answer.status, answer.body) == (
        404, b"There is no preset of this name; none is set.\n",
    )  # fmt: skip
    assert b'presets"' not in proxy.ask("/-/view/300x200.png").body


def test_the_view_page_has_them(proxy: Proxy) -> None:
    page = proxy.ask("/-/view/300x200.png").body.decode()
    shown = proxy.info("/-/presets/300x200.png")["presets"]
    clips = [html.unescape(text) for text in re.findall(r'data-clip="([^"]*)"', page)]
    wanted = [text for one in shown for text in (one["url"], one["html"], one["markdown"])]
    assert clips == wanted
    # Of what is no image the page says so by itself.
    unknown = proxy.ask("/-/view/nothing.png")
    assert unknown.status == 200
    assert b"data-clip" not in unknown.body


def test_info_json_may_name_them(serving: Serving, proxy: Proxy) -> None:
    assert "seeAlso" not in proxy.info("/3/300x200.png/info.json")
    also = serving(
        presets=PRESETS,
        presets_in_info="seeAlso",
        see_also='{"id": "https://example.org/x", "type": "Dataset"}',
    )
    [own, first, *_] = also.info("/3/300x200.png/info.json")["seeAlso"]
    assert own["id"] == "https://example.org/x"
    assert first == {
        "id": f"{BASE}/3/300x200.png/full/100,67/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "label": {"none": ["thumb"]},
    }
    served = serving(presets=PRESETS, presets_in_info="service")
    [three] = served.info("/3/300x200.png/info.json")["service"]
    [two] = served.info("/2/300x200.png/info.json")["service"]
    assert three["id"] == two["@id"] == f"{BASE}/-/presets/300x200.png"
    assert (three["type"], two["profile"]) == ("Service", f"{BASE}/-/presets")
    assert [one["name"] for one in three["presets"]] == ["thumb", "large", "huge", "card", "lying"]
    assert two["presets"][0]["url"] == f"{BASE}/2/300x200.png/full/100,/0/default.jpg"


@pytest.mark.parametrize(
    "settings, line",
    [
        ({"presets": "thumb"}, "words such as thumb=full/!200,200/0/default.jpg"),
        ({"presets": "a=full/max/0/default.jpg a=full/max/0/default.png"}, "a is there twice"),
        ({"presets": "a=full/big/0/default.jpg"}, "IIIF_PROXY_PRESETS: a.size: the size must be"),
        ({"presets": "a=full/max/0/default.webp", "formats": "jpg png"}, "a.format: webp is not"),
        (
            {"presets": "a=full/max/5/default.jpg", "rotation_arbitrary": "off"},
            "a.rotation: must be a multiple of 90 here",
        ),
    ],
)
def test_a_broken_preset_stops_the_start(settings: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(line)):
        IIIFProxy(environ={}, source="file:/x/{id}", cache_dir="", **settings)
