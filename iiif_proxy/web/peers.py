"""Who is at the other end, and under which address the public knows us."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Environ = dict[str, Any]
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
PORTS = {"http": "80", "https": "443"}
REMEMBERED = 4096
LONG = 1_000


class Peers:
    """Trust in `X-Forwarded-*` and the base URI of a request.

    A peer on a Unix socket (no address) is trusted like the networks given.
    """

    def __init__(self, trusted: tuple[Network, ...], hops: int, base_url: str | None) -> None:
        self._networks = trusted
        self._hops = hops
        self._base_url = base_url
        self._trusts: dict[str, bool] = {}
        self._bases: dict[tuple[Any, ...], str] = {}

    def trusts(self, address: str) -> bool:
        known = self._trusts.get(address)
        if known is None:
            if len(self._trusts) > REMEMBERED:
                self._trusts.clear()
            known = self._trusts[address] = self._look_up(address)
        return known

    def _look_up(self, address: str) -> bool:
        if not address:
            return True
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any((mapped or parsed) in network for network in self._networks)

    def client(self, environ: Environ) -> str:
        """The visitor's address: the last but `hops - 1` of X-Forwarded-For, if the peer counts."""
        address = str(environ.get("REMOTE_ADDR", ""))
        if not self.trusts(address):
            return address
        chain = [part.strip() for part in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        chain = [part for part in chain if part]
        return chain[max(len(chain) - self._hops, 0)] if chain else address

    def base(self, environ: Environ) -> str:
        """scheme://host[:port][/mount] of this request, without a slash at the end."""
        if self._base_url:
            return self._base_url
        key = (
            environ.get("HTTP_HOST"),
            environ.get("wsgi.url_scheme"),
            environ.get("SCRIPT_NAME"),
            environ.get("HTTP_X_FORWARDED_PROTO"),
            environ.get("HTTP_X_FORWARDED_HOST"),
            environ.get("HTTP_X_FORWARDED_PORT"),
            environ.get("HTTP_X_FORWARDED_PREFIX"),
            environ.get("REMOTE_ADDR"),
        )
        known = self._bases.get(key)
        if known is None:
            if len(self._bases) > REMEMBERED:
                self._bases.clear()
            trusted = self.trusts(str(environ.get("REMOTE_ADDR", "")))
            known = base_of(environ, trusted)
            if sum(len(text or "") for text in key) <= LONG:
                self._bases[key] = known
        return known


def base_of(environ: Mapping[str, Any], trusted: bool) -> str:
    def forwarded(name: str) -> str:
        value = str(environ.get("HTTP_X_FORWARDED_" + name, "")) if trusted else ""
        return value.partition(",")[0].strip()

    scheme = forwarded("PROTO").lower()
    if scheme not in PORTS:
        scheme = str(environ.get("wsgi.url_scheme", "http"))
    host, port = _split(forwarded("HOST"))
    if not host:
        host, port = _split(str(environ.get("HTTP_HOST", "")))
    if not host:
        host, port = _split(f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}")
    said = forwarded("PORT")
    if re.fullmatch(r"[0-9]{1,5}", said):
        port = said
    netloc = host or "localhost"
    if port and port != PORTS.get(scheme):
        netloc += ":" + port
    mount = forwarded("PREFIX")
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?", mount):
        mount = ""
    script = quote(
        str(environ.get("SCRIPT_NAME", "")).encode("latin-1", "replace"), safe="/!$&'()*+,;=:~"
    )
    return f"{scheme}://{netloc}{mount.rstrip('/')}{script.rstrip('/')}"


def _split(text: str) -> tuple[str, str]:
    """Host and port of a Host header; ("", "") for what is none."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, ""
    if not HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{0,5}", port):
        return "", ""
    return host, port
