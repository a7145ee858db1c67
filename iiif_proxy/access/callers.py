"""Who asks: a request becomes a Caller, by whatever the policy and the settings say."""

import importlib
import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from iiif_proxy.access.policy import PUBLIC
from iiif_proxy.errors import Undecided

log = logging.getLogger(__name__)
Environ = dict[str, Any]
# So many unknown names are told of, each once.
MOST = 100
Classify = Callable[[Environ], str | None]


@dataclass(frozen=True, slots=True)
class Caller:
    """`name` tells callers of a class apart, for rates: a key, a user, or else an address ("").

    `known`: there was something to know it by, so its answers are its own.
    """

    one: str = PUBLIC
    name: str = ""
    known: bool = False


STRANGER = Caller()


class Finder(Protocol):
    """One way to know a caller. `vary`: the fields of a request that it may go by."""

    vary: tuple[str, ...]

    def find(self, environ: Environ) -> Caller | None:
        """None: nothing here to know it by. Raises NotAuthenticated for what is not valid."""


class Callers:
    """All ways, in order: the first that knows the caller decides."""

    def __init__(self, finders: Sequence[Finder], classes: Mapping[str, Any]) -> None:
        self._finders = tuple(finders)
        self._classes = classes
        self._unheard: set[str] = set()
        found = (field for finder in finders for field in finder.vary)
        # Whether anybody can be told from a stranger at all.
        self.some = bool(self._finders)
        self.vary = ", ".join(dict.fromkeys(found))

    def find(self, environ: Environ) -> Caller:
        for finder in self._finders:
            caller = finder.find(environ)
            if caller is None:
                continue
            if caller.one in self._classes:
                return caller
            if caller.one not in self._unheard and len(self._unheard) < MOST:
                self._unheard.add(caller.one)
                log.warning("a caller of an unknown class, %r, counts as %s", caller.one, PUBLIC)
            return Caller(PUBLIC, caller.name, True)
        return STRANGER


# What an application or a proxy in front may have gone by.
SESSION: tuple[str, ...] = ("Authorization", "Cookie")


class ByUser:
    """REMOTE_USER, as a server or middleware in front has set it."""

    vary = SESSION

    def __init__(self, users: Mapping[str, str], everybody: str | None) -> None:
        self._users = users
        self._everybody = everybody

    def find(self, environ: Environ) -> Caller | None:
        user = environ.get("REMOTE_USER")
        one = self._users.get(user, self._everybody) if user else None
        return Caller(one, f"user {user}", True) if one else None


class ByEnviron:
    """A key of the environ that names the class."""

    vary = SESSION

    def __init__(self, key: str) -> None:
        self._key = key

    def find(self, environ: Environ) -> Caller | None:
        one = environ.get(self._key)
        if not isinstance(one, str) or not one:
            return None
        return Caller(one, _user(environ), True)


class ByCallable:
    """`package.module:function` of the settings: given the environ, it names the class or None."""

    vary = SESSION

    def __init__(self, classify: Classify) -> None:
        self._classify = classify

    def find(self, environ: Environ) -> Caller | None:
        try:
            one = self._classify(environ)
        except Exception as cause:
            # Who asks is not known, and must not be taken for somebody.
            log.exception("IIIF_PROXY_CLASSIFY failed")
            raise Undecided("Who asks could not be found out.", repr(cause)) from cause
        if one is None or one == PUBLIC:
            return None
        return Caller(str(one), _user(environ), True)


class ByHeader:
    """A header that names the class, from peers that are trusted."""

    vary = SESSION

    def __init__(self, name: str, trusts: Callable[[str], bool]) -> None:
        self._key = "HTTP_" + name.upper().replace("-", "_")
        self._trusts = trusts

    def find(self, environ: Environ) -> Caller | None:
        one = environ.get(self._key, "").strip()
        if not one or one == PUBLIC or not self._trusts(environ.get("REMOTE_ADDR", "")):
            return None
        return Caller(one, _user(environ), True)


def _user(environ: Environ) -> str:
    user = environ.get("REMOTE_USER")
    return f"user {user}" if user else ""


def callable_of(text: str) -> Classify:
    """`package.module:function`. Raises ValueError with the reason."""
    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as cause:
        raise ValueError(f"cannot be imported ({cause})") from cause
    if not callable(found):
        raise ValueError("is no function")
    classify: Classify = found
    return classify


def network_of(address: str) -> str:
    """An address as rates count it: of IPv6 the /64, which is one household's."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)
