"""What the keys of the [auth] table may be."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from iiif_proxy.access.auth import PROFILES, Label, Network
from iiif_proxy.access.values import Check, duration, text, words
from iiif_proxy.values import is_url

LANGUAGE = re.compile(r"none|[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
END = re.compile(r"[!$&'()*+,;=:~_.-][A-Za-z0-9_.~-]{0,30}[A-Za-z_~-]")


def profiles(value: Any) -> tuple[str, ...]:
    found = words(value)
    if not set(found) <= set(PROFILES):
        raise ValueError(f"one of {', '.join(PROFILES)}, or a list of them")
    return found


def address(value: Any) -> str:
    """A page at the origin or elsewhere; `{return}` in it is where to come back to."""
    plain = value.replace("{return}", "x") if isinstance(value, str) else ""
    here = plain.startswith("/") and not plain.startswith(("//", "/\\"))
    if not (is_url(plain) or (here and is_url("http://x" + plain))):
        raise ValueError("an address such as /login?next={return}, or with https://")
    return str(value)


def path(value: Any) -> str:
    """A page at the origin itself."""
    if not isinstance(value, str) or "//" in value or "{" in value:
        raise ValueError("a path at the origin such as /account")
    found = address(value)
    if not found.startswith("/"):
        raise ValueError("a path at the origin such as /account")
    return found


def some_label(value: Any) -> Label:
    """A text that may be left out, by ""."""
    return () if value == "" else label(value)


def label(value: Any) -> Label:
    if isinstance(value, str) and value:
        return (("en", value),)
    if isinstance(value, dict) and value:
        languages = all(map(LANGUAGE.fullmatch, value))
        if languages and all(isinstance(one, str) and one for one in value.values()):
            return tuple(value.items())
    raise ValueError('a text, or texts by language: { en = "Log in", de = "Anmelden" }')


def origins(value: Any) -> tuple[str, ...]:
    found = words(value)
    for one in found:
        parts = urlsplit(one)
        if not is_url(one) or parts.path or parts.query or one != one.lower():
            raise ValueError("origins such as https://viewer.example.org")
    return found


def networks(value: Any) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(one, strict=False) for one in words(value))
    except ValueError:
        raise ValueError("addresses or networks such as 10.1.0.0/16") from None


def end(value: Any) -> str:
    if not isinstance(value, str) or not END.fullmatch(value):
        raise ValueError("the end of an identifier such as ;reduced")
    return value


CHECKS: Mapping[str, Check] = {
    "class": text,
    "profile": profiles,
    "login": address,
    "logout": address,
    "check": path,
    "cookies": words,
    "label": label,
    "heading": some_label,
    "note": some_label,
    "confirm": some_label,
    "logout_label": label,
    "error_heading": label,
    "error_note": label,
    "token_lifetime": duration,
    "cookie_lifetime": duration,
    "origins": origins,
    "networks": networks,
    "reduced": end,
    "key_file": text,
}
