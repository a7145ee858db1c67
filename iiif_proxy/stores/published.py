"""The tree by which a static server answers hits: published/{time}/{identifier} -> a version.

Time is part of the path. The static server looks in the folder of the hundred seconds that its
own clock shows, and links are made only in folders whose time ends while the source is fresh. So
what is stale is found nowhere, even if every process of ours is dead, and nobody has to take it
away in time: no thread, no leader, no scan. Links are made for some minutes; then one request
comes to Python again, which makes the next ones.
"""

import contextlib
import logging
import os
import random
import re
import time
from pathlib import Path
from secrets import token_hex

log = logging.getLogger(__name__)

# Seconds of one folder: deploy/nginx-static.conf cuts two digits off its clock.
STEP = 100
# Folders that get a link at a time besides the present one: at random from one to so many, so that
# not all identifiers come to Python at the same moment. A link takes 0.1 ms (ext4).
AHEAD = 4
# Seconds that a static server's clock may be late: nginx reads it once per round of events.
MARGIN = 1.0
# Bytes of a file name.
LONGEST = 255
RULES = ".rules"
SLOT = re.compile(r"[0-9]+")


class Published:
    """Links from encoded identifiers to the versions of a store beside the folder.

    `rules` names the settings that decide what may be served: what was published under others is
    gone at the start. No method raises because of the disk: what cannot be published is not.
    """

    def __init__(
        self,
        folder: Path,
        store: Path,
        rules: str,
        *,
        step: int | None = None,
    ) -> None:
        self._root = os.path.abspath(folder)
        # Relative, so that the whole cache may be moved or mounted elsewhere.
        self._store = os.path.relpath(store, f"{self._root}/0")
        self._rules = rules
        self._step = step or STEP
        self._begin()

    def publish(self, encoded: str, group: str, version: str, until: float) -> float:
        """Link for some minutes, at most up to `until`; when the links end, or 0.0 for none.

        The caller looks afterwards whether that is still right, and unpublishes if not.
        """
        if not fits(encoded):
            return 0.0
        first = int(time.time()) // self._step
        ahead = random.randint(1, AHEAD)
        last = min(first + ahead, int(until - MARGIN) // self._step - 1)
        target = f"{self._store}/{group}/{version}"
        try:
            if self._in_force() is None:
                self._begin()
            done = last >= first and self._ours()
            if done:
                for slot in range(first, first + AHEAD + 1):
                    if slot <= last:
                        self._link(f"{self._root}/{slot}", encoded, target)
                    else:
                        _unlinked(f"{self._root}/{slot}/{encoded}")
                # Again: others' rules may have come meanwhile, and swept before our links.
                done = self._ours()
        except OSError as refusal:
            log.debug("publishing is refused (%s)", refusal)
            done = False
        if not done:
            self.unpublish(encoded)
            return 0.0
        self._tidy(first)
        return float((last + 1) * self._step)

    def unpublish(self, encoded: str) -> None:
        """Take every link of an identifier away."""
        if fits(encoded):
            for slot in self._listed():
                if SLOT.fullmatch(slot):
                    _unlinked(f"{self._root}/{slot}/{encoded}")

    def _link(self, folder: str, encoded: str, target: str) -> None:
        """Make or replace one link: there is never none and never half of one. Raises OSError."""
        path = f"{folder}/{encoded}"
        try:
            os.symlink(target, path)
            return
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
        except FileExistsError:
            if os.readlink(path) == target:
                return
        temporary = f"{folder}/.{token_hex(8)}"
        os.symlink(target, temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            _unlinked(temporary)
            raise

    # Rules

    def ruled(self, rules: str) -> None:
        """Other rules from now on."""
        self._rules = rules
        self._begin()

    def _begin(self) -> None:
        """Put our rules up; what others published is taken out of the way at once."""
        try:
            os.makedirs(self._root, exist_ok=True)
            if self._ours():
                return
            temporary = f"{self._root}/.{token_hex(8)}"
            os.symlink(self._rules, temporary)
            os.rename(temporary, f"{self._root}/{RULES}")
            for slot in self._listed():
                if SLOT.fullmatch(slot):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(f"{self._root}/{slot}", f"{self._root}/.old-{token_hex(8)}")
        except OSError as refusal:
            log.warning("nothing can be published (%s)", refusal.strerror or refusal)

    def _ours(self) -> bool:
        """Whether our rules are those in force. Raises OSError."""
        # Where letters have no case, one identifier would be served for another.
        return self._in_force() == self._rules and not os.path.lexists(
            f"{self._root}/{RULES.upper()}"
        )

    def _in_force(self) -> str | None:
        try:
            return os.readlink(f"{self._root}/{RULES}")
        except FileNotFoundError:
            return None

    # The past

    def _tidy(self, present: int) -> None:
        """Remove some links of the past: more than a publishing makes, so they never pile up."""
        left = 2 * (AHEAD + 2)
        for name in self._listed():
            past = SLOT.fullmatch(name) and int(name) < present - 1
            if not past and not name.startswith(".old-"):
                continue
            with contextlib.suppress(OSError):
                with os.scandir(f"{self._root}/{name}") as links:
                    for link in links:
                        if left == 0:
                            return
                        os.unlink(link.path)
                        left -= 1
                os.rmdir(f"{self._root}/{name}")

    def _listed(self) -> list[str]:
        try:
            return os.listdir(self._root)
        except OSError:
            return []


def fits(encoded: str) -> bool:
    """Whether an encoded identifier is a file name, and not one of those with a point in front."""
    return 0 < len(encoded) <= LONGEST and encoded[0] != "." and "/" not in encoded


def _unlinked(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as refusal:
        log.warning("a published link cannot be removed (%s)", refusal.strerror or refusal)
