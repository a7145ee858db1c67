"""A policy file becomes a Policy, or a list of what is wrong with it and where."""

import hashlib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from iiif_proxy.access.lines import line_of
from iiif_proxy.access.policy import BUILT_IN, CREATE, OUTSIDE, PUBLIC, READ, Policy, Rules, Special
from iiif_proxy.access.spelling import pattern
from iiif_proxy.access.tables import TABLES
from iiif_proxy.access.values import NAME, Check, boolean, count, duration, one_of, rate, words
from iiif_proxy.iiif.model import Features
from iiif_proxy.iiif.presets import PresetError, Presets, from_table

Path_ = tuple[str | int, ...]


class PolicyError(Exception):
    """What is wrong with a policy: lines, each with its place and a reason."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def read(path: Path, features: Features) -> Policy:
    """The policy in a file. `features` are those of the installation. Raises PolicyError."""
    try:
        raw = path.read_bytes()
    except OSError as cause:
        raise PolicyError([f"{path}: cannot be read ({(cause.strerror or '').lower()})"]) from cause
    return parse(raw, path, features)


def parse(raw: bytes, path: Path, features: Features) -> Policy:
    try:
        text = raw.decode()
        values = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise PolicyError([f"{path}: {fault}"]) from fault
    return Reader(text, path, features).policy(values, hashlib.sha256(raw).hexdigest())


class Reader:
    """One pass over the values; faults are collected, so that all are seen at once."""

    def __init__(self, text: str, path: Path, features: Features) -> None:
        self._text = text
        self._path = path
        self._features = features
        self._faults: list[str] = []
        self._names: set[str] = set()
        self._rules: dict[str, Check] = {
            "read": one_of(*READ),
            "create": one_of(*CREATE),
            "outside": one_of(*OUTSIDE),
            "max_width": count,
            "max_height": count,
            "max_area": count,
            "formats": _formats(features.formats),
            "rotation_arbitrary": boolean,
            "regions": boolean,
            "rate": rate,
            "rate_class": rate,
            "retention": duration,
            "origin": boolean,
        }
        assert set(self._rules) == {field.name for field in fields(Rules)}

    def policy(self, values: Mapping[str, Any], digest: str) -> Policy:
        known = {"classes", "rules", "presets", *TABLES}
        for name in values.keys() - known:
            self._fault((name,), f"no such table; there are {', '.join(sorted(known))}")
        classes = self._table(values, "classes")
        self._names = {*BUILT_IN, *classes}
        found = {name: Rules() for name in BUILT_IN}
        for name, value in classes.items():
            if not NAME.fullmatch(name):
                self._fault(("classes", name), "is no name: letters, digits, - and _")
            found[name] = self._one(Rules(), value, ("classes", name))
        specials = tuple(self._specials(values, found))
        settings = {name: self._settings(values, name, checks) for name, checks in TABLES.items()}
        presets = self._presets(self._table(values, "presets"))
        if self._faults:
            raise PolicyError(self._faults)
        return Policy(found, specials, settings, presets, digest)

    def _one(self, base: Rules, value: Any, path: Path_) -> Rules:
        """The rules that a table makes of others. Faults that show only together are found too."""
        changes = self._checked(value, path, self._rules)
        rules = replace(base, **changes)
        if rules.max_height and not rules.max_width:
            self._fault((*path, "max_height"), "needs max_width beside it")
        if changes.get("read", "any") != "any" and changes.get("create", "none") != "none":
            self._fault((*path, "create"), f'must be "none" where read is "{rules.read}"')
        return rules

    def _specials(self, values: Mapping[str, Any], classes: dict[str, Rules]) -> Iterable[Special]:
        found = values.get("rules", [])
        if not isinstance(found, list):
            self._fault(("rules",), "is written [[rules]]")
            return
        for number, value in enumerate(found):
            path: Path_ = ("rules", number)
            if not isinstance(value, dict) or "identifiers" not in value:
                self._fault(path, 'needs identifiers = "pattern" (or a list of such)')
                continue
            patterns = self._value(value["identifiers"], (*path, "identifiers"), words)
            changes = {}
            for name, inner in value.items():
                if name == "identifiers":
                    continue
                if name not in self._names:
                    self._fault((*path, name), f"no such class; there are {self._listed()}")
                    continue
                self._one(classes[name], inner, (*path, name))
                changes[name] = self._checked(inner, (*path, name), self._rules, quiet=True)
            if patterns:
                yield Special(tuple(pattern(text) for text in patterns), changes)

    def _presets(self, table: Mapping[str, Any]) -> Presets:
        try:
            found = from_table(table)
        except PresetError as error:
            self._fault(tuple(error.key.split(".")), error.why)
            return Presets()
        for fault in found.faults(self._features):
            self._fault(("presets", *fault.key.split(".")), fault.why)
        return found

    def _settings(
        self, values: Mapping[str, Any], name: str, checks: Mapping[str, Check]
    ) -> dict[str, Any]:
        found = self._checked(self._table(values, name), (name,), checks)
        for key in found.keys() & {"class", "remote_user"}:
            self._class(found[key], (name, key))
        for user, one in found.get("users", {}).items():
            self._class(one, (name, "users", user))
        return found

    def _class(self, name: str, path: Path_) -> None:
        if name not in self._names:
            self._fault(path, f"no such class: {name!r}; there are {self._listed()}")

    def _checked(
        self, value: Any, path: Path_, checks: Mapping[str, Check], quiet: bool = False
    ) -> dict[str, Any]:
        before = list(self._faults)
        found = {}
        if not isinstance(value, dict):
            self._fault(path, "must be a table")
            value = {}
        for key, inner in value.items():
            if key not in checks:
                self._fault((*path, key), f"no such key; there are {', '.join(checks)}")
                continue
            good = self._value(inner, (*path, key), checks[key])
            if good is not None:
                found[key] = good
        if quiet:
            self._faults = before
        return found

    def _value(self, value: Any, path: Path_, check: Check) -> Any:
        try:
            return check(value)
        except ValueError as fault:
            self._fault(path, f"{value!r} is not {fault}")
            return None

    def _table(self, values: Mapping[str, Any], name: str) -> dict[str, Any]:
        found = values.get(name, {})
        if isinstance(found, dict):
            return found
        self._fault((name,), "must be a table")
        return {}

    def _listed(self) -> str:
        return ", ".join(sorted(self._names))

    def _fault(self, path: Path_, reason: str) -> None:
        line = line_of(self._text, *path)
        where = f"line {line}: " if line else ""
        name = ".".join(str(part) for part in path if isinstance(part, str))
        self._faults.append(f"{self._path}: {where}{name}: {reason}")


def _formats(available: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        found = words(value)
        if "jpg" not in found or not set(found) <= set(available):
            raise ValueError(f"a list with jpg in it, out of {', '.join(available)}")
        return found

    return check


def short(create: str, rate_text: str | None) -> Policy:
    """The policy of the short forms, without a file."""
    public = Rules(create=create, rate=rate_text)
    classes = {name: Rules() for name in BUILT_IN} | {PUBLIC: public}
    digest = hashlib.sha256(repr(public).encode()).hexdigest()
    return Policy(classes, digest=digest, settings={name: {} for name in TABLES})
