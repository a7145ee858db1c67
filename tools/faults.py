"""docs/faults.md, made from the tests: `python -m tools.faults` writes it, a test compares."""

from pathlib import Path

from tests.faults.disk import DISK_FAULTS, DiskFault
from tests.faults.table import FAULTS, ODD

PLACE = Path(__file__).parent.parent / "docs" / "faults.md"
HEAD = """# When the origin does wrong

Made by `python -m tools.faults` from the table that `tests/faults` tries through real processes and sockets; do not edit.

Whatever happens, nothing broken is kept: when the fault is over, the same address gives the right image at once. An image whose source is known goes on being served where the table says so, for `IIIF_PROXY_STALE_IF_ERROR` (a day) after its freshness ended; `Cache-Status` then says `detail=stale`, and `Cache-Control` lets others keep it for seconds only. The same holds if the origin does not confirm it within `IIIF_PROXY_STALE_AFTER`. What the origin forbids or has no more (401, 403, 404, 410) is not served from then on, nor is what it says must be revalidated.

An origin that does not answer at all, three requests in a row, is asked by one request at a time; others get 504 with `Retry-After` at once, so that cached images, health and other origins have threads left. Its first answer lets everybody in again.

| the origin | an unknown image | a known image | bounded by |
|---|---|---|---|
"""
DISK = """
# When the disk of the cache does wrong

Every image that can be made is answered all the same, from memory, and nothing cut short or broken is ever served; when the fault is over, the sidecar stores again by itself. `/iiif/-/health?deep` says what is wrong. What other work needs of the disk beside (locks between processes, shared sessions) is done without: two processes may then make the same image twice.

| the folder of the cache | what was stored | what is made now | health says |
|---|---|---|---|
"""
DESCRIPTORS = """
A process that has no file descriptors left answers 503 with `Retry-After` where it cannot open what it needs, and lets new visitors wait; it does not take that for a fault of the origin or of an image.

Killed processes (kill -9, the kernel's out-of-memory killer, a power cut) leave entries whole or not at all; their temporary files go with the next sweep after ten minutes, downloads that were under way with the next download after one, and whoever waited for what they made takes over.
"""
VISITORS = """
# When visitors are too many, or slow

What is dear (more than 4 megapixels to decode) waits for its share of `IIIF_PROXY_MEMORY`, at most half of `IIIF_PROXY_THREADS` in each process and `IIIF_PROXY_QUEUE_TIMEOUT` long; others get 503 with a `Retry-After` that follows from how long such work took lately. The other half of the threads goes on with what is stored and what is cheap, and `/iiif/-/health` has a thread of its own.

Whoever waits for an image has an end in sight: for its source `IIIF_PROXY_SOURCE_TIMEOUT` (and `IIIF_PROXY_CONNECT_TIMEOUT`); for whoever is making the same, in this machine or another, `IIIF_PROXY_QUEUE_TIMEOUT`; the same for a share of memory, and for a process to decode in; then `IIIF_PROXY_DECODE_TIMEOUT` of a processor, which on a starved machine is five times that on the clock at most. Each ends in 502, 503 or 504, with `Retry-After` where asking again helps. Where all of these come together that is 13 minutes by default; a server in front that gives up before then (`proxy_read_timeout`) loses nothing, for what is made is kept.

Under `iiif-proxy serve` a visitor holds no thread while the head of the request comes, while the image is read (more than a quarter of a second long), or while the connection is left open at the end. Who reads nothing at all for a minute is left. An image whose visitor went away is finished and kept. What is passed through from the origin is read as fast as its visitor reads it, and holds a thread that long.
"""
ODDLY = """
Odd, but right, and served as 200: """


def text() -> str:
    rows = []
    for fault in FAULTS:
        known = "goes on (stale)" if fault.stale else str(fault.status)
        fields = ", ".join(f"`{name}` passed on" for name, _ in fault.headers)
        status = f"{fault.status}{f', {fields}' if fields else ''}"
        ends = f"`{fault.ends}`" if fault.ends.isupper() else fault.ends
        rows.append(f"| {fault.name} | {status} | {known} | {ends} |")
    origin = HEAD + "\n".join(rows) + "\n" + ODDLY + "; ".join(ODD) + ".\n"
    return origin + DISK + "\n".join(map(_row, DISK_FAULTS)) + "\n" + DESCRIPTORS + VISITORS


def _row(fault: DiskFault) -> str:
    stored = "is found" if fault.hits else "is made again"
    kept = "is kept" if fault.keeps else "is answered, not kept"
    return f"| {fault.name} | {stored} | {kept} | {fault.says or '–'} |"


if __name__ == "__main__":
    PLACE.write_text(text())
