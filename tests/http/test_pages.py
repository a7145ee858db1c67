"""Pages for people: what they say is data, and they work in a real browser."""

import json
import re

import pytest
from playwright.sync_api import BrowserContext, expect

from iiif_proxy.web.own import OPENSEADRAGON, STATIC
from tests.http.conftest import Proxy, Serving

BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
HOSTILE = [
    "<script>document.title='owned'</script>",
    "\"'><img src=x onerror=document.title='owned'>",
    "{image}</title><svg onload=document.title='owned'>",
    "javascript:document.title='owned'",
]


def quoted(text: str) -> str:
    return "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in text)


@pytest.mark.parametrize(
    "target",
    [
        "/-/",
        "/-/view/a.png",
        "/-/compare/a.png/b%2Fc.png",
        "/-/explain/3/300x200.png/full/max/0/default.jpg",
        "/3/300x200.png/full/full/0/default.jpg",
        "/3/nothing/info.json",
    ],
)
def test_pages_have_nothing_inline_and_a_strict_policy(proxy: Proxy, target: str) -> None:
    answer = proxy.ask(target, BROWSER)
    page = answer.body.decode()
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    policy = answer.get("Content-Security-Policy") or ""
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", page)
    assert '<html lang="en">' in page
    assert 'name="viewport"' in page
    for address in re.findall(r'(?:src|href)="([^"]*static[^"]*)"', page):
        if OPENSEADRAGON not in address:
            path = address.removeprefix("http://visited.example/iiif")
            assert proxy.ask(path).status == 200


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "target",
    [
        "/-/view/{}",
        "/-/compare/{}/{}",
        "/-/explain/3/{}/full/{}/0/default.jpg",
        "/3/{}/full/{}/0/{}.jpg",
        "/3/{}/info.json",
    ],
)
def test_identifiers_and_parameters_are_data(proxy: Proxy, target: str, name: str) -> None:
    for written in (quoted(name), name.replace(" ", "%20").replace("/", "%2F")):
        page = proxy.ask(target.replace("{}", written), BROWSER).body.decode()
        assert "<script>" not in page
        assert "<img src=x" not in page
        assert "<svg onload" not in page
        assert not re.search(r'href="\s*javascript:', page)


def test_index_leads_to_the_pages(proxy: Proxy) -> None:
    page = proxy.ask("/-/").body.decode()
    assert page.count("<form") == 3
    base = "http://visited.example/iiif/-"
    for query, there in (
        ("view?id=a%2Fb+c.png", "view/a%2Fb%20c.png"),
        ("compare?one=a&two=b%2Fc", "compare/a/b%2Fc"),
        ("explain?url=https%3A%2F%2Fx.example%2Fiiif%2F3%2Fa%252Fb%2Finfo.json",
         "explain/3/a%2Fb/info.json"),
    ):  # fmt: skip
        answer = proxy.ask(f"/-/{query}")
        assert (answer.status, answer.get("Location")) == (303, f"{base}/{there}")
    assert proxy.ask("/-/view?id=").status == 404


def test_index_says_how_it_is_and_names_no_images(proxy: Proxy) -> None:
    page = proxy.ask("/-/").body.decode()
    assert "All is well." in page
    assert "Looked at lately" not in page


def test_recent_images_if_they_may_be_named(serving: Serving) -> None:
    proxy = serving(recent="on")
    for name in ("a%2Fb.png", "300x200.png"):
        assert proxy.ask(f"/3/{name}/info.json").status == 200
    page = proxy.ask("/-/").body.decode()
    found = re.findall(r'<a href="http://visited\.example/iiif/-/view/([^"]*)"', page)
    assert set(found) == {"300x200.png", "a%2Fb.png"}
    for address in re.findall(r'<img src="http://visited\.example/iiif([^"]*)"', page):
        assert proxy.ask(address).status == 200


def test_links_to_viewers(serving: Serving) -> None:
    proxy = serving(viewers="A_<b>=https://v.example/?c={manifest}&x=1")
    page = proxy.ask("/-/view/a%2Fb.png").body.decode()
    manifest = "http%3A%2F%2Fvisited.example%2Fiiif%2F3%2Fa%252Fb.png%2Fmanifest.json"
    assert f'<a href="https://v.example/?c={manifest}&amp;x=1">A &lt;b&gt;</a>' in page


def test_policies_name_what_settings_name(serving: Serving) -> None:
    proxy = serving(
        base_url="https://public.example/x",
        annotations="https://notes.example/{id};script-src",
        openseadragon_url="https://cdn.example/osd.js;x",
    )
    for page, hosts in (("view", set()), ("annotate", {"https://notes.example"})):
        policy = proxy.ask(f"/-/{page}/a.png").get("Content-Security-Policy") or ""
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'self' https://public.example"
        assert rules["script-src"].split()[2:] == ["https://cdn.example"]
        assert set(rules["connect-src"].split()[2:]) == hosts
        assert "*" not in policy


def test_pages_are_framed_by_whom_settings_name(serving: Serving) -> None:
    proxy = serving(frame_ancestors="'self' https://www.example.org:8443")
    for target in ("/-/", "/-/view/a.png", "/3/nothing/info.json"):
        policy = proxy.ask(target, BROWSER).get("Content-Security-Policy") or ""
        assert policy.endswith("frame-ancestors 'self' https://www.example.org:8443")


def test_error_pages_say_what_to_write_instead(proxy: Proxy) -> None:
    answer = proxy.ask("/3/300x200.png/full/full/0/native.jpg", BROWSER)
    page = answer.body.decode()
    better = "http://visited.example/iiif/3/300x200.png/full/max/0/default.jpg"
    assert answer.status == 400
    assert f'href="{better}"' in page
    assert 'href="http://visited.example/iiif/-/explain/3/300x200.png/full/full/0/' in page
    assert proxy.ask(better.removeprefix("http://visited.example/iiif")).status == 200
    assert proxy.ask("/3/nothing/info.json", BROWSER).status == 404


def test_explanations_for_machines(proxy: Proxy) -> None:
    target = "/-/explain/3/300x200.png/square/100,/0/color.png"
    found = json.loads(proxy.ask(target, "Accept: application/json").body)
    assert found["status"] == 200
    assert found["facts"]["Canonical"] == "50,0,200,200/100,100/0/default.png"
    assert found["facts"]["Stored"].startswith("no")
    proxy.ask("/3/300x200.png/square/100,/0/color.png")
    found = json.loads(proxy.ask(target, "Accept: application/json").body)
    assert found["facts"]["Stored"].startswith("yes")
    assert "127.0.0.1" not in json.dumps(found)


@pytest.mark.parametrize("version", [2, 3])
def test_manifest(serving: Serving, version: int) -> None:
    proxy = serving(rights="http://rightsstatements.org/vocab/NKC/1.0/", attribution="The <b>A</b>")
    answer = proxy.ask(f"/{version}/a%2Fb.png/manifest.json")
    found = json.loads(answer.body)
    uri = f"http://visited.example/iiif/{version}/a%2Fb.png"
    assert (answer.status, answer.get("Access-Control-Allow-Origin")) == (200, "*")
    assert "presentation/3/context.json" in (answer.get("Content-Type") or "")
    assert (found["id"], found["type"]) == (f"{uri}/manifest.json", "Manifest")
    assert found["label"] == {"none": ["b.png"]}
    assert found["rights"] == "http://rightsstatements.org/vocab/NKC/1.0/"
    canvas = found["items"][0]
    body = canvas["items"][0]["items"][0]["body"]
    service = body["service"][0]
    assert (canvas["width"], canvas["height"]) == (11, 10)
    assert service.get("id", service.get("@id")) == uri
    for image in (body, canvas["thumbnail"][0]):
        path = image["id"].removeprefix("http://visited.example/iiif")
        assert proxy.image(path).size == (image["width"], image["height"])
    etag = answer.get("ETag")
    again = proxy.ask(f"/{version}/a%2Fb.png/manifest.json", f"If-None-Match: {etag}")
    assert again.status == 304
    assert proxy.ask("/3/nothing/manifest.json").status == 404


def test_manifests_of_the_origin_pass_through(proxy: Proxy) -> None:
    asked = len(proxy.origin.requests)
    proxy.ask("/works/7/manifest.json")
    assert [r.target for r in proxy.origin.requests[asked:]] == ["/iiif/works/7/manifest.json"]


def installed() -> None:
    if not (STATIC / OPENSEADRAGON).is_file():
        pytest.skip("OpenSeadragon is not here (make openseadragon)")


def test_the_builder_in_a_browser(proxy: Proxy, context: BrowserContext) -> None:
    installed()
    page = context.new_page()
    page.goto(f"{proxy.served.url}/iiif/-/view/large.png")
    button = page.get_by_role("button", name="Make an image")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(page.locator("#builder")).to_be_visible()
    facts = page.locator("dl")
    expect(facts).to_contain_text("1301 × 1102 (1.4 megapixels)")
    assert re.search(r"Source\s*png", facts.inner_text())
    assert page.locator('option[value="webp"]').count() == 1
    address = re.compile(r"/-/explain/3/large\.png/full/!800,800/0/default")
    expect(page.locator("#why")).to_have_attribute("href", address)
