"""Our pages in a real browser: what they do, on every screen, and that nobody writes into them."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from iiif_proxy.web.own import ANNOTORIOUS, OPENSEADRAGON, STATIC
from tests.servers import Served

HOSTILE = [
    "<script>window.owned=1</script>.png",
    "\"'><img src=x onerror=window.owned=1>.png",
    "{own}<svg onload=window.owned=1>.png",
    "'-window.owned-'&amp;${window.owned=1}.png",
]
PRESETS = "thumb=full/!200,200/0/default.jpg card=focus:0,0/300x200/0/default.png"
# What a browser and OpenSeadragon say of an image that is not there.
REFUSED = re.compile("status of 4|HTTP 4.. attempting")
PAGES = ["", "view/wide.png", "compare/wide.png/tall.png", "annotate/wide.png",
         "explain/3/wide.png/full/max/0/native.jpg", "explain/3/wide.png/full/300,/0/default.jpg",
         "view/none.png"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    Image.linear_gradient("L").resize((1200, 800)).convert("RGB").save(folder / "wide.png")
    Image.radial_gradient("L").resize((600, 900)).convert("RGB").save(folder / "tall.png")
    for name in HOSTILE:
        if "/" not in name:
            Image.new("RGB", (300, 200), "teal").save(folder / name)
    return folder


@pytest.fixture
def base(sidecar: Callable[..., Served], folder: Path) -> str:
    if not (STATIC / OPENSEADRAGON).is_file() or not (STATIC / ANNOTORIOUS).is_file():
        pytest.skip("the scripts of the pages are not here (make openseadragon)")
    return sidecar(folder, recent="on", presets=PRESETS).url + "/iiif"


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab in which nothing is refused by our own policy and no script fails."""
    page, complaints = context.new_page(), list[str]()

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and not REFUSED.search(message.text):
            complaints.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert not complaints


def opened(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("body")).to_have_attribute("data-state", re.compile("open|loaded"))


def settled(page: Page, address: str) -> None:
    """Open, or refused and said so; pages without a script at once."""
    page.goto(address)
    expect(page.locator("body")).not_to_have_attribute("data-state", "loading")


def test_select_a_region_and_copy_it(page: Page, base: str, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, f"{base}/-/view/wide.png")
    page.get_by_role("button", name="Make an image").click()
    page.get_by_role("button", name="Select on the picture").click()
    box = page.locator("#picture").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 50, steps=4)
    page.mouse.up()
    address = page.get_by_label("Address", exact=True)
    expect(address).to_have_value(re.compile(r"/3/wide\.png/\d+,\d+,\d+,\d+/!800,800/0/default"))
    region = [int(n) for n in re.findall(r"\d+", address.input_value().split("/")[-4])]
    assert abs(region[0] - 600) <= 3
    assert abs(region[1] - 400) <= 3
    assert abs(region[2] / region[3] - 2) < 0.1
    page.locator("[data-copy=url]").click()
    assert page.evaluate("navigator.clipboard.readText()") == address.input_value()
    expect(page.locator("#weight")).to_have_text(re.compile(r"\d+ × \d+ · [\d.]+ (bytes|kB)"))
    assert page.request.get(address.input_value()).status == 200
    sources = re.findall(r"(http\S+) (\d+)w", page.locator("#set").input_value())
    for source, width in sources:
        body = page.request.get(source.replace("&amp;", "&")).body()
        assert Image.open(io.BytesIO(body)).width == int(width)


def test_copy_a_preset(page: Page, base: str, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened(page, f"{base}/-/view/wide.png")
    page.get_by_text("Presets", exact=True).click()
    page.get_by_role("button", name="Copy the address of card").click()
    expect(page.locator("#said")).to_have_text("Copied")
    address = page.evaluate("navigator.clipboard.readText()")
    assert Image.open(io.BytesIO(page.request.get(address).body())).size == (300, 200)
    page.get_by_role("button", name="Copy an img tag of thumb").click()
    shown = page.context.new_page()
    shown.set_content(page.evaluate("navigator.clipboard.readText()"))
    wide = "document.images[0].decode().then(() => document.images[0].naturalWidth)"
    assert shown.evaluate(wide) == 200
    page.keyboard.press("Escape")
    expect(page.locator("#presets ul")).to_be_hidden()
    expect(page.locator("#presets summary")).to_be_focused()


def test_view_by_keyboard(page: Page, base: str) -> None:
    opened(page, f"{base}/-/view/wide.png")
    page.locator(".openseadragon-canvas").first.focus()
    page.keyboard.press("g")
    expect(page.locator("body")).to_have_class(re.compile("gray"))
    for _ in range(12):
        page.keyboard.press("+")
    expect(page.locator("#address")).to_have_value(re.compile(r"/\d+,\d+,\d+,\d+/.*/gray\.jpg"))
    names = page.locator("button:visible").evaluate_all(
        "all => all.map(b => b.getAttribute('aria-label') || b.textContent.trim())"
    )
    assert all(names)
    assert len(set(names)) == len(names)


def test_compare_moves_together(page: Page, base: str) -> None:
    opened(page, f"{base}/-/compare/wide.png/tall.png")
    page.get_by_role("button", name="Curtain").click()
    slider = page.get_by_label("How much of the first is seen")
    slider.fill("25")
    assert "25%" in page.locator("#second").evaluate("element => element.style.clipPath")
    settled(page, f"{base}/-/compare/wide.png/none.png")
    expect(page.locator("#message")).to_have_text("No source has an image with this identifier.")


def test_notes_are_kept_exported_and_imported(page: Page, base: str, tmp_path: Path) -> None:
    address = f"{base}/-/annotate/wide.png"
    opened(page, address)
    page.get_by_role("button", name="Rectangle").click()
    box = page.locator("#picture").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 60, steps=5)
    page.mouse.up()
    page.get_by_label("Note", exact=True).fill("<b>a bay</b>")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="What is seen").click()
    expect(page.locator("#list li")).to_have_count(2)
    opened(page, address)
    expect(page.locator("#list li")).to_have_count(2)
    expect(page.locator("#list li").first).to_have_text("<b>a bay</b>")
    with page.expect_download() as waited:
        page.get_by_role("button", name="Export").click()
    kept = tmp_path / "notes.json"
    waited.value.save_as(kept)
    exported = json.loads(kept.read_text())
    assert exported["type"] == "AnnotationPage"
    assert exported["@context"] == "http://iiif.io/api/presentation/3/context.json"
    first = exported["items"][0]
    assert first["type"] == "Annotation"
    assert first["body"][0]["value"] == "<b>a bay</b>"
    manifest = page.request.get(f"{base}/3/wide.png/manifest.json").json()
    assert first["target"]["source"] == manifest["items"][0]["id"]
    value = first["target"]["selector"]["value"]
    assert re.fullmatch(r"xywh=[\d.]+,[\d.]+,[\d.]+,[\d.]+", value)
    left = float(value.removeprefix("xywh=").split(",")[0])
    assert abs(left - 600) < 4

    other = f"{base}/-/annotate/tall.png"
    opened(page, other)
    page.locator("#file").set_input_files(kept)
    expect(page.locator("#list li")).to_have_count(2)
    nonsense = tmp_path / "x.json"
    nonsense.write_text('{"items": [{"target": "x"}, 5, {"target": "y#xywh=1,2,30,40"}]}')
    page.locator("#file").set_input_files(nonsense)
    expect(page.locator("#list li")).to_have_count(3)
    expect(page.locator("#message")).to_contain_text("2 notes have no rectangle")


def test_notes_begin_where_the_origin_has_them(
    page: Page, folder: Path, sidecar: Callable[..., Served], base: str
) -> None:
    notes = {"items": [{"body": "from the origin", "target": "c#xywh=10,10,100,100"}]}
    template = "https://notes.example/{id}.json"
    there = sidecar(folder, annotations=template).url + "/iiif"
    page.route(
        "https://notes.example/**",
        lambda route: route.fulfill(
            json=notes, headers={"Access-Control-Allow-Origin": "*"}
        ),
    )  # fmt: skip
    opened(page, f"{there}/-/annotate/wide.png")
    expect(page.locator("#list li")).to_have_text(["from the origin"])
    manifest = page.request.get(f"{there}/3/wide.png/manifest.json").json()
    assert manifest["items"][0]["annotations"] == [
        {"id": "https://notes.example/wide.png.json", "type": "AnnotationPage"}
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(page: Page, base: str, name: str) -> None:
    encoded = quote(name, safe="")
    for target in (
        f"-/view/{encoded}",
        f"-/annotate/{encoded}",
        f"-/compare/{encoded}/{encoded}",
        f"-/explain/3/{encoded}/{encoded}/max/0/default.jpg",
        f"3/{encoded}/full/{encoded}/0/default.jpg",
        "-/",
    ):
        settled(page, f"{base}/{target}")
        assert page.evaluate("typeof window.owned") == "undefined"
        assert page.locator("iframe, img[src=x]").count() == 0
    settled(page, f"{base}/-/view/{encoded}")
    assert page.locator("h1").inner_text() == name
    assert page.title() == name


@pytest.mark.parametrize("width", [360, 1000])
def test_every_page_fits_and_can_be_read(browser: Browser, base: str, width: int) -> None:
    """Nothing sticks out, every field has a name, and text stands out from its ground."""
    context = browser.new_context(viewport={"width": width, "height": 600})
    page = context.new_page()
    for target in PAGES:
        settled(page, f"{base}/-/{target}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, target
        assert page.locator("h1").count() == 1
        nameless = page.locator("input:visible, select:visible, textarea:visible").evaluate_all(
            "all => all.filter(e => !e.labels.length && !e.getAttribute('aria-label')).length"
        )
        assert nameless == 0
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            contrast = page.evaluate(CONTRAST)
            assert contrast["least"] >= 4.5, (target, dark, contrast)
    context.close()


# By WCAG 2.2, 1.4.3: of all text that is seen, against the first ground behind it.
CONTRAST = """() => {
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  let least = 99, where = "";
  for (const e of document.querySelectorAll("h1, h2, p, a, label, button, td, th, dt, dd, legend, code, strong, li")) {
    if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    let behind = e, ground = [0, 0, 0, 0];
    while (behind && (ground = colour(getComputedStyle(behind).backgroundColor))[3] === 0) behind = behind.parentElement;
    if (!behind) continue;
    const [a, b] = [light(colour(getComputedStyle(e).color).slice(0, 3)), light(ground.slice(0, 3))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) { least = ratio; where = e.outerHTML.slice(0, 120); }
  }
  return { least, where };
}"""  # noqa: E501
