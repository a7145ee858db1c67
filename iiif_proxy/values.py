"""What a setting's text may be: each function reads one kind of value.

Raises ValueError with what would be right, to go after "… is not".
"""

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

UNITS = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
# What both versions count as level 2, which every info.json here says of itself.
LEVEL2_FORMATS = ("jpg", "png")
# Of object stores.
BUCKETS = ("s3", "gs", "az")
URL_CHARACTERS = re.compile(r"[!#-;=?-Z\[\]_a-z~]*")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", text)
    if not found or found[2].lower() not in UNITS:
        raise ValueError("a size in bytes such as 10GiB, 500MB or 1048576")
    return int(float(found[1]) * UNITS[found[2].lower()])


def seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", text)
    if not found or found[2].lower() not in SECONDS:
        raise ValueError("a time such as 30s, 5m, 1h, 7d or plain seconds")
    return float(found[1]) * SECONDS[found[2].lower()]


def some_seconds(text: str) -> float:
    """A time that something is given: not none at all."""
    found = seconds(text)
    if not found:
        raise ValueError("a time above 0")
    return found


def number(low: int, high: int = 10**15) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def boolean(text: str) -> bool:
    word = text.lower()
    if word in {"1", "on", "true", "yes"}:
        return True
    if word in {"0", "off", "false", "no", ""}:
        return False
    raise ValueError("on or off")


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def url(text: str) -> str | None:
    """A base URL, without the slash at its end."""
    if not text:
        return None
    if not is_url(text) or "?" in text or "#" in text:
        raise ValueError("an http or https URL without user, query or fragment")
    return text.rstrip("/")


def bucket(text: str) -> str | None:
    """A place in an object store: `s3://bucket/prefix`, `gs://…` or `az://container/prefix`."""
    if not text:
        return None
    parts = urlsplit(text)
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in BUCKETS or not parts.netloc or not plain:
        raise ValueError(
            "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix;"
            " who we are to it is said by its own variables (AWS_ACCESS_KEY_ID, …)"
        )
    return text.rstrip("/")


def redis_url(text: str) -> str | None:
    """Where a Redis is: `redis://host:6379/0`, `rediss://…`, `unix:///path`."""
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise ValueError("redis://host:6379/0, rediss://… or unix:///path")
    return text


def redirect(text: str) -> str | None:
    """`presign`, or the address that stands for a prefix of an object store."""
    if text in {"", "presign"}:
        return text or None
    try:
        return url(text)
    except ValueError:
        raise ValueError("presign, or the http(s) URL at which the store is public") from None


def is_url(text: str) -> bool:
    """Whether this is an absolute http(s) URL that can be sent as it is."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return bool(
        parts.scheme in {"http", "https"}
        and parts.hostname
        and port != 0
        and "@" not in parts.netloc
        and URL_CHARACTERS.fullmatch(text)
    )


def templates(text: str) -> tuple[str, ...]:
    found = tuple(text.split())
    for template in found:
        scheme = template.partition(":")[0]
        if scheme not in {"http", "https", "file", "app", *BUCKETS} or "{id}" not in template:
            raise ValueError(
                "templates with {id} that begin with http:, https:, file:, app:, s3:, gs: or az:"
            )
        fixed, _, rest = template.partition("{id}")
        if scheme in {"http", "https"}:
            whole = is_url(fixed + rest.replace("{id}", ""))
            if not whole or "/" not in fixed.partition("://")[2] or "#" in template:
                raise ValueError("a URL that names a host, with {id} in its path or query")
        elif scheme in BUCKETS:
            named = re.fullmatch(r"[a-z0-9]+://[A-Za-z0-9._-]+/[^{}?#]*", fixed)
            if not named or re.search("[?#]", rest):
                raise ValueError(f"a template such as {scheme}://bucket/folder/{{id}}")
        elif not template.startswith(scheme + ":/"):
            raise ValueError(f"a template with an absolute path after {scheme}:")
    if not found:
        raise ValueError("at least one template with {id}")
    return found


def prefix(text: str) -> str:
    clean = text.strip("/")
    if not re.fullmatch(r"(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?", clean):
        raise ValueError("a path such as /iiif")
    return "/" + clean if clean else ""


def location(text: str) -> str | None:
    """A location of nginx, with a slash at its end."""
    if not text:
        return None
    if not re.fullmatch(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?", text):
        raise ValueError("a location such as /-derivatives/")
    return text.rstrip("/") + "/"


def corners(text: str) -> tuple[int, int, int] | None:
    if text.lower() == "transparent":
        return None
    try:
        return colour(text)
    except ValueError:
        raise ValueError("transparent, white, black or a colour such as #ffffff") from None


def folder(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in words(text))
    except ValueError:
        raise ValueError("addresses or networks such as 127.0.0.1 10.0.0.0/8 ::1") from None


def viewers(text: str) -> tuple[tuple[str, str], ...]:
    """Words `Name=https://…{manifest}…`; `_` in a name is a space."""
    found = []
    for word in text.split():
        name, equals, template = word.partition("=")
        if not (name and equals and is_url(template.replace("{manifest}", "x"))):
            raise ValueError(
                "words such as Mirador=https://viewer.example/?iiif-content={manifest}"
            )
        if "{manifest}" not in template:
            raise ValueError(f"complete: {name} needs {{manifest}} in its address")
        found.append((name.replace("_", " "), template))
    return tuple(found)


def named(text: str) -> tuple[tuple[str, str], ...]:
    """Words `name=text`, each name once; or a JSON object, as keywords are written."""
    found: dict[str, str] = {}
    if text.startswith("{"):
        given = document(text)
        if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
            raise ValueError("an object of texts")
        return tuple(given.items())
    for word in text.split():
        name, equals, rest = word.partition("=")
        if not (name and equals and rest):
            raise ValueError("words such as thumb=full/!200,200/0/default.jpg")
        if name in found:
            raise ValueError(f"unambiguous: {name} is there twice")
        found[name] = rest
    return tuple(found.items())


def url_with_id(text: str) -> str | None:
    if text and not (is_url(text.replace("{id}", "x")) and "{id}" in text):
        raise ValueError("an http(s) URL with {id} in it")
    return text or None


def words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


FRAMER = re.compile(r"'self'|https?://(\*\.)?[A-Za-z0-9.-]+(:[0-9]{1,5})?")


def framers(text: str) -> tuple[str, ...]:
    found = words(text)
    if not all(FRAMER.fullmatch(one) for one in found):
        raise ValueError("'self', or places such as https://www.example.org")
    return found


def formats(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(words(text)))
    if not set(LEVEL2_FORMATS) <= set(found):
        raise ValueError("a list with jpg and png in it (info.json says level 2)")
    return found


def colour(text: str) -> tuple[int, int, int]:
    names = {"white": "ffffff", "black": "000000"}
    found = re.fullmatch(r"#?([0-9a-fA-F]{6})", names.get(text.lower(), text))
    if not found:
        raise ValueError("white, black or a colour such as #ffffff")
    r, g, b = bytes.fromhex(found[1])
    return r, g, b


def document(text: str) -> Any:
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not all(isinstance(part, dict) for part in (found if isinstance(found, list) else [found])):
        raise ValueError("a JSON object or a list of such")
    return found


RATE = re.compile(
    r"\s*([0-9]{1,9})\s*(?:/|per)\s*([0-9]{1,6})?\s*(second|minute|hour|day|month|year)s?\s*", re.I
)


def rate(text: str) -> str | None:
    """`60/minute`, `5 per 10 seconds`; several with `;`. As the library limits reads it."""
    if not text:
        return None
    parts = [RATE.fullmatch(part) for part in re.split("[;,]", text)]
    if not all(part and int(part[1]) and part[2] != "0" for part in parts):
        raise ValueError("a rate such as 60/minute, 1000/hour or 5/10 seconds")
    return "; ".join(f"{p[1]} per {p[2] or 1} {p[3].lower()}" for p in parts if p)


def callable_name(text: str) -> str | None:
    if text and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ValueError("package.module:function")
    return text or None


def header(text: str) -> str | None:
    if text and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,100}", text):
        raise ValueError("the name of a header such as X-Image-Class")
    return text or None


def threshold(text: str) -> int:
    """0: dithering."""
    if text == "dither":
        return 0
    try:
        return number(1, 255)(text)
    except ValueError:
        raise ValueError("a whole number from 1 to 255, or dither") from None


def mark(text: str) -> tuple[str, Path | None]:
    """Words, or a file: `text:© Museum`, `/etc/iiif/logo.png`."""
    if not text.startswith("text:"):
        return "", folder(text)
    words = text.removeprefix("text:").strip()
    if not words or len(words) > 200 or not words.isprintable():
        raise ValueError("a picture's file, or text: and up to 200 letters on one line")
    return words, None


def separator(text: str) -> str | None:
    if text and (text[-1].isdigit() or not re.fullmatch(r"[!#-.0-;=@-Z_a-z~]{1,20}", text)):
        raise ValueError("a few letters or signs without a slash, not ending with a digit")
    return text or None


def plain(text: str) -> str | None:
    return text or None


def some(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: parse(text) if text else None
