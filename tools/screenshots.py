"""docs/img/*.png: our pages with the demo's pictures, in a real browser.

`python -m tools.screenshots [--to FOLDER]`. Needs Chromium, and OpenSeadragon in the package.
"""

import argparse
import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

PLACE = Path(__file__).parent.parent / "docs" / "img"
MOST = 150_000  # bytes
SIZE = {"width": 1000, "height": 640}
PAGES = {
    "view": "-/view/map.jpg",
    "explain": "-/explain/3/map.jpg/full/full/0/native.jpg",
    "compare": "-/compare/map.jpg/people%2Fportrait.jpg",
    "annotate": "-/annotate/map.jpg",
    "index": "-/",
}


def ready(page: Page, name: str) -> None:
    expect(page.locator("body")).not_to_have_attribute("data-state", "loading", timeout=30_000)
    if name == "view":
        page.get_by_role("button", name="Make an image").click()
        page.get_by_label("x", exact=True).fill("3600")
        page.get_by_label("y", exact=True).fill("1500")
        page.get_by_label("width", exact=True).fill("2800")
        page.get_by_label("height", exact=True).fill("2200")
        expect(page.locator("#weight")).to_contain_text("800 × 629", timeout=30_000)
    if name == "annotate":
        page.get_by_role("button", name="What is seen").click()
        page.get_by_label("Note", exact=True).fill("The bay where all regions meet.")
    page.wait_for_timeout(1000)  # Until what was typed is asked for.
    page.wait_for_load_state("networkidle")


def taken(page: Page) -> bytes:
    """As a PNG of few colours if it would be too large."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for colours in (256, 64, 32):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() < MOST:
            break
    return out.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="Screenshots for the documents.")
    parser.add_argument("--to", type=Path, default=PLACE)
    folder: Path = parser.parse_args().to
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "iiif_proxy.demo", "--bind", f"127.0.0.1:{port}"]
    demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    base = f"http://127.0.0.1:{port}/iiif/"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(base + "-/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium-headless-shell", args=["--no-sandbox"]
            )
            context = browser.new_context(viewport=SIZE, reduced_motion="reduce")
            for name, target in PAGES.items():
                page = context.new_page()
                page.goto(base + target)
                ready(page, name)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{name}.png").write_bytes(taken(page))
            browser.close()
    finally:
        demo.terminate()
        demo.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
