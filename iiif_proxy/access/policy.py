"""The policy as a value: classes of callers, what each may do, and special ones by identifier."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from iiif_proxy.access.spelling import folded, plain
from iiif_proxy.iiif.presets import Presets

READ = ("nothing", "existing", "any")
CREATE = ("none", "presets", "declared", "any")
OUTSIDE = ("refuse", "unstored")
PUBLIC = "public"
# There without being named; a file may name others.
BUILT_IN = (PUBLIC, "member", "privileged")


@dataclass(frozen=True, slots=True)
class Rules:
    """What one class may do with one image. The defaults are those of every key of the file.

    `read`: nothing, what is stored already, or anything; `create`: what may be made for it that is
    not stored; `outside`: whether what is outside of `create` is refused or made unstored.
    `max_*` are pixels of an answer, None: as the installation has it. `formats` None: all (jpg
    where `create` is not any). `regions`: whether parts of the image may be asked at all.
    `rate`, `rate_class`: misses of each caller, of all callers of the class together.
    `retention`: seconds unread, after which what was made for the class goes; None: it stays.
    `origin`: whether the origin is asked first, with the caller's own credentials.
    """

    read: str = "any"
    create: str = "any"
    outside: str = "refuse"
    max_width: int | None = None
    max_height: int | None = None
    max_area: int | None = None
    formats: tuple[str, ...] | None = None
    rotation_arbitrary: bool = True
    regions: bool = True
    rate: str | None = None
    rate_class: str | None = None
    retention: float | None = None
    origin: bool = False

    @property
    def makes(self) -> str:
        """`create`, where reading allows anything to be made."""
        return self.create if self.read == "any" else "none"

    @property
    def unlimited(self) -> bool:
        """Whether whatever is stored may be had, by whoever is of this class."""
        limits = self.max_width, self.max_height, self.max_area, self.formats
        free = self.rotation_arbitrary and self.regions and not self.origin
        return self.read != "nothing" and free and limits == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Special:
    """Other rules for the identifiers that match one of the patterns."""

    patterns: tuple[re.Pattern[str], ...]
    changes: Mapping[str, Mapping[str, Any]]

    def matches(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self.patterns)


@dataclass(frozen=True)
class Policy:
    """Everything that a policy file says. `classes` has BUILT_IN at least.

    `settings` are its other tables (who, keys), checked, as values.
    """

    classes: Mapping[str, Rules]
    specials: tuple[Special, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Presets = field(default_factory=Presets)
    digest: str = ""

    def __post_init__(self) -> None:
        # Bounded, and of this policy alone.
        object.__setattr__(self, "_rules", lru_cache(maxsize=4096)(self._look_up))

    @property
    def asks(self) -> bool:
        """Whether the origin is ever asked."""
        changed = (rules for special in self.specials for rules in special.changes.values())
        return any(one.origin for one in self.classes.values()) or any(
            rules.get("origin") for rules in changed
        )

    def rules(self, identifier: str) -> Mapping[str, Rules] | None:
        """The rules of every class for one image; the last special one that matches wins.

        None: under another spelling, which an origin may take for the same, the rules would be
        others. Nobody gets it then.
        """
        found: Mapping[str, Rules] | None = self._rules(identifier)  # type: ignore[attr-defined]
        return found

    def _look_up(self, identifier: str) -> Mapping[str, Rules] | None:
        if not self.specials:
            return self.classes
        found = self._of(folded(identifier))
        return found if self._of(folded(plain(identifier))) == found else None

    def _of(self, name: str) -> Mapping[str, Rules]:
        found = dict(self.classes)
        for special in self.specials:
            if special.matches(name):
                for one, changes in special.changes.items():
                    found[one] = replace(found[one], **changes)
        return found
