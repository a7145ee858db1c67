"""The [auth] table of a policy: how viewers are led to a login, and what stands for it after."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iiif_proxy.access.callers import Caller
from iiif_proxy.access.tickets import COOKIE, Expired, Tickets

ACTIVE, KIOSK, EXTERNAL = PROFILES = ("active", "kiosk", "external")
NAME = "iiif_access"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Environ = dict[str, Any]
# Texts by language.
Label = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Auth:
    """`one` is the class that a login makes of strangers. `login` and `logout` are addresses at
    the origin, with `{return}` where it is told where to come back to.

    `token` and `cookie` are lifetimes in seconds. `origins`: sites whose viewers may have tokens,
    None for all. `networks`: devices that get the class as they are (external) or by visiting the
    access service (kiosk). `reduced` is the end of identifiers under which everybody gets what
    strangers may have. `check` is an address at the origin that only who is logged in may see,
    `cookies` the names of those that a login leaves.
    """

    tickets: Tickets
    one: str = "member"
    profiles: tuple[str, ...] = (ACTIVE,)
    login: str | None = None
    logout: str | None = None
    label: Label = (("en", "Log in"),)
    heading: Label = (("en", "Please log in"),)
    note: Label = (("en", "This image is not open to everybody."),)
    confirm: Label = (("en", "Log in"),)
    logout_label: Label = (("en", "Log out"),)
    error_heading: Label = (("en", "Not open to you"),)
    error_note: Label = (("en", "You may not see this image as it is."),)
    token: float = 300.0
    cookie: float = 43200.0
    origins: tuple[str, ...] | None = None
    networks: tuple[Network, ...] = ()
    reduced: str = ";reduced"
    check: str | None = None
    cookies: tuple[str, ...] = ()

    def knows(self, address: str) -> bool:
        """Whether a visitor's address is in the networks."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self.networks)


def cookie_in(environ: Environ, name: str = NAME) -> str:
    """A cookie of a request; "" where it is not."""
    for pair in environ.get("HTTP_COOKIE", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return str(value)
    return ""


class ByCookie:
    """The cookie that the kiosk's access service gave. What is wrong with it does not matter: it
    is no cookie then, and its bearer a stranger."""

    vary: tuple[str, ...] = ("Cookie",)

    def __init__(self, tickets: Tickets, classes: Mapping[str, Any]) -> None:
        self._tickets = tickets
        self._classes = classes

    def find(self, environ: Environ) -> Caller | None:
        text = cookie_in(environ)
        try:
            one = self._tickets.read(text, COOKIE, "", self._classes) if text else None
        except Expired:
            return None
        return Caller(one, "", True) if one else None


class ByNetwork:
    """Devices of some networks are of a class by where they are."""

    # By nothing in the request that a cache could see: answers to them are private anyway.
    vary: tuple[str, ...] = ()

    def __init__(self, auth: Auth, client: Any) -> None:
        self._auth = auth
        self._client = client

    def find(self, environ: Environ) -> Caller | None:
        if self._auth.knows(self._client(environ)):
            return Caller(self._auth.one, "", True)
        return None


def auth_of(values: Mapping[str, Any], tickets: Tickets) -> Auth:
    """Of a table that was checked (`CHECKS`)."""
    renamed = {
        "class": "one",
        "profile": "profiles",
        "token_lifetime": "token",
        "cookie_lifetime": "cookie",
    }
    given = {renamed.get(name, name): value for name, value in values.items() if name != "key_file"}
    return Auth(tickets, **given)


def faults(auth: Auth) -> list[tuple[str, str]]:
    """Keys that do not go together, and why."""
    found = []
    if ACTIVE in auth.profiles and auth.login is None:
        found.append(("login", "is needed for the profile active: the page where people log in"))
    if KIOSK in auth.profiles and not auth.networks:
        found.append(("networks", "are needed for the profile kiosk: where its devices are"))
    return found
