"""What sweeps have done so far: one small file in a store's folder, for whoever asks."""

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass

from iiif_proxy.stores.ledger import Ledger


@dataclass(frozen=True, slots=True)
class History:
    """Sweeps, and what they evicted, since the store was made; `at`: when the last one ended."""

    at: float = 0.0
    sweeps: int = 0
    evicted: int = 0
    freed: int = 0
    entries: int = 0


def last(root: str) -> History:
    """An empty one where nothing was swept yet, or the file cannot be read."""
    try:
        with open(_path(root), encoding="utf-8") as file:
            return History(**json.load(file))
    except (OSError, ValueError, TypeError):
        return History()


def total(root: str) -> int:
    """Bytes held, as all processes count them: no scan. Raises OSError."""
    return Ledger(root).change(0).bytes


def note(root: str, evicted: int, freed: int, entries: int) -> None:
    """To be called by the one sweeper. `entries` are those that are left."""
    before = last(root)
    now = History(
        time.time(), before.sweeps + 1, before.evicted + evicted, before.freed + freed, entries
    )
    with contextlib.suppress(OSError):
        fresh = _path(root) + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(asdict(now), file)
        os.replace(fresh, _path(root))


def _path(root: str) -> str:
    return f"{root}/.state/history.json"
