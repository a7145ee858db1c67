"""A policy in force: with the ways to know callers that it names, ready to be asked."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iiif_proxy.access import keys, reading, signed, tokens
from iiif_proxy.access.auth import EXTERNAL, Auth, ByCookie, ByNetwork, auth_of, faults
from iiif_proxy.access.callers import (
    ByCallable,
    ByEnviron,
    ByHeader,
    ByUser,
    Caller,
    Callers,
    Classify,
    Finder,
)
from iiif_proxy.access.policy import Policy
from iiif_proxy.access.reading import PolicyError
from iiif_proxy.access.session import App, BySession
from iiif_proxy.access.tickets import Tickets
from iiif_proxy.iiif.model import Features

API_KEY = "X-Api-Key"
METHODS = {"head": "HEAD", "get": "GET"}
REMEMBER = 30.0
LEAST_KEY = 16


@dataclass(frozen=True, slots=True)
class Given:
    """What settings say of access: beside the file, or instead of it."""

    file: Path | None
    features: Features
    trusts: Callable[[str], bool]
    prefix: str = ""
    askable: bool = True
    create: str = "any"
    rate: str | None = None
    classify: Classify | None = None
    class_header: str | None = None
    app: App | None = None
    client: Callable[[dict[str, Any]], str] = lambda environ: str(environ.get("REMOTE_ADDR", ""))
    key: Callable[[], bytes] = lambda: os.urandom(32)


@dataclass(frozen=True)
class Regime:
    """`challenge` is what WWW-Authenticate says, None where nobody can answer it by a header.

    `files` are those it was read from: when one changes it is read anew.
    """

    policy: Policy
    callers: Callers
    challenge: str | None
    files: tuple[Path, ...]
    # How the origin is asked, and how long its verdict counts in seconds.
    method: str = "HEAD"
    remember: float = REMEMBER
    auth: Auth | None = None


def establish(given: Given) -> Regime:
    """Read everything anew. Raises PolicyError."""
    if given.file is None:
        policy = reading.short(given.create, given.rate)
        files = []
    else:
        policy = reading.read(given.file, given.features)
        files = [given.file]
    finders: list[Finder] = []
    challenge = None
    said = policy.settings["keys"]
    if said:
        if given.file is None or "file" not in said:
            raise PolicyError([f"{given.file}: keys.file: is needed beside the other keys"])
        path = given.file.parent / said["file"]
        files.append(path)
        header = said.get("header", API_KEY)
        finders.append(keys.ByKey(_keys(path, policy), header, said.get("query")))
        challenge = f'ApiKey realm="iiif", header="{header}"'
    if policy.asks and not given.askable:
        raise PolicyError(
            [f"{given.file}: origin: only sources with http:, https: or app: can be asked"]
        )
    if given.file is not None:
        challenge = _signed(given.file, policy, finders, files, given.prefix) or challenge
    finders += _session(given, policy.settings["who"])
    auth = _auth(given, policy, files)
    if auth is not None:
        if auth.check is not None and given.app is not None:
            finders.append(BySession(given.app, auth.check, auth.one, auth.cookies))
        finders.append(ByCookie(auth.tickets, policy.classes))
        if EXTERNAL in auth.profiles and auth.networks:
            finders.append(ByNetwork(auth, given.client))
    said = policy.settings["origin"]
    return Regime(
        policy,
        Callers(finders, policy.classes),
        challenge,
        tuple(files),
        METHODS[said.get("ask", "head")],
        said.get("remember", REMEMBER),
        auth,
    )


def _auth(given: Given, policy: Policy, files: list[Path]) -> Auth | None:
    """What [auth] says. Its key is in a file of its own, else the one that is given."""
    said = policy.settings["auth"]
    if given.file is None or not said:
        return None
    if "key_file" in said:
        path = given.file.parent / said["key_file"]
        files.append(path)
        try:
            key = path.read_bytes().strip()
        except OSError as cause:
            raise PolicyError([f"{given.file}: auth.key_file: cannot be read"]) from cause
    else:
        key = given.key()
    if len(key) < LEAST_KEY:
        raise PolicyError([f"{given.file}: auth.key_file: needs {LEAST_KEY} bytes or more"])
    auth = auth_of(said, Tickets(key))
    if found := faults(auth):
        raise PolicyError([f"{given.file}: auth.{key}: {reason}" for key, reason in found])
    return auth


def _signed(
    file: Path, policy: Policy, finders: list[Finder], files: list[Path], prefix: str
) -> str | None:
    """Signed addresses and tokens; what WWW-Authenticate says of tokens."""
    challenge = None
    said = policy.settings["signing"]
    try:
        if said:
            path = file.parent / said.get("file", "")
            secrets = signed.read(path)
            files.append(path)
            finders.append(signed.BySignature(secrets, prefix))
        said = policy.settings["jwt"]
        if said:
            missing = [k for k in ("file", "algorithms", "issuer", "audience") if k not in said]
            if missing:
                raise PolicyError([f"{file}: jwt.{missing[0]}: is needed"])
            path = file.parent / said["file"]
            files.append(path)
            finders.append(tokens.made(said, path))
            challenge = tokens.CHALLENGE
    except ValueError as fault:
        raise PolicyError([str(fault)]) from fault
    return challenge


def _session(given: Given, who: Mapping[str, object]) -> list[Finder]:
    found: list[Finder] = []
    if given.class_header:
        found.append(ByHeader(given.class_header, given.trusts))
    if given.classify:
        found.append(ByCallable(given.classify))
    if "environ" in who:
        found.append(ByEnviron(str(who["environ"])))
    if "users" in who or "remote_user" in who:
        everybody = who.get("remote_user")
        users = who.get("users", {})
        assert isinstance(users, dict)
        found.append(ByUser(users, str(everybody) if everybody else None))
    return found


def _keys(path: Path, policy: Policy) -> dict[str, Caller]:
    try:
        return keys.read(path, policy.classes)
    except keys.KeysError as fault:
        raise PolicyError([str(fault)]) from fault
