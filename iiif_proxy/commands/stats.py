"""`iiif-proxy stats`: what fills the cache."""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from iiif_proxy.settings import load
from iiif_proxy.stores.history import last
from iiif_proxy.stores.sweep import cost, walk

HELP = "show what fills the cache: by format, by age, by image"
EXAMPLES = """\
  iiif-proxy stats
  iiif-proxy stats --top 50
  iiif-proxy stats --json | jq .images
"""
DAY = 86400
AGES = ((DAY, "a day"), (7 * DAY, "a week"), (30 * DAY, "30 days"), (365 * DAY, "a year"))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many images to name")
    parser.add_argument("--json", action="store_true", help="as JSON, sizes in bytes")


def run(given: argparse.Namespace) -> int:
    settings = load(os.environ)
    if settings.cache_dir is None:
        print("Nothing is stored: IIIF_PROXY_CACHE_DIR is empty.")
        return 0
    bounds = {"derivatives": settings.cache_size, "sources": settings.source_cache_size}
    found = collected(settings.cache_dir, bounds, given.top)
    print(json.dumps(found, indent=1, ensure_ascii=False) if given.json else text(found))
    return 0


def collected(cache: Path, bounds: dict[str, int], top: int) -> dict[str, Any]:
    stores = {}
    for name in ("derivatives", "sources", "records"):
        files = [status.st_size for _, name_, status in walk(str(cache / name)) if name_[0] != "."]
        swept = last(str(cache / name))
        stores[name] = {
            "entries": len(files),
            "bytes": sum(map(cost, files)),
            "bound": bounds.get(name),
            "evicted": swept.evicted,
            "last_sweep": swept.at or None,
        }
    formats: Counter[str] = Counter()
    ages: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    now = time.time()
    for folder, name, status in walk(str(cache / "derivatives")):
        if name.startswith("."):
            continue
        size, group = cost(status.st_size), folder.partition("/")[0]
        formats[name.rpartition(".")[2]] += size
        unused = now - status.st_atime
        ages[next((word for limit, word in AGES if unused < limit), "longer")] += size
        groups[group] += size
        counts[group] += 1
    largest = [
        {"identifier": identifier_of(cache, group), "entries": counts[group], "bytes": size}
        for group, size in groups.most_common(top)
    ]
    return {
        "folder": str(cache),
        "stores": stores,
        "formats": dict(formats.most_common()),
        "used_within": {word: ages[word] for word in [w for _, w in AGES] + ["longer"]},
        "images": largest,
    }


def identifier_of(cache: Path, group: str) -> str | None:
    """The name behind a group, from its record: the group's own is only a hash."""
    for path in (cache / "records" / group / "record").glob("*.json"):
        try:
            name: str = json.loads(path.read_bytes())["identifier"]
            return name
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def held_by(cache: Path | None, group: str) -> tuple[int, int]:
    """Derivatives of one image: entries and bytes."""
    if cache is None:
        return 0, 0
    found = [p.stat().st_size for p in (cache / "derivatives" / group).glob("*/[!.]*")]
    return len(found), sum(found)


def text(found: dict[str, Any]) -> str:
    lines = [str(found["folder"]), ""]
    for name, store in found["stores"].items():
        bound = f" of {amount(store['bound'])}" if store["bound"] else ""
        swept = f", {store['evicted']} evicted so far" if store["evicted"] else ""
        held = f"{amount(store['bytes'])}{bound}"
        lines.append(f"{name:12} {store['entries']:>9} entries  {held}{swept}")
    for title, name in (("by format", "formats"), ("last used within", "used_within")):
        rows = [(word, size) for word, size in found[name].items() if size]
        if rows:
            lines += ["", title, *(f"  {word:10} {amount(size):>10}" for word, size in rows)]
    if found["images"]:
        lines += ["", "largest images"]
        lines += [
            f"  {amount(i['bytes']):>10}  {i['entries']:>7}  {i['identifier'] or '(unknown)'}"
            for i in found["images"]
        ]
    return "\n".join(lines)


def amount(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
