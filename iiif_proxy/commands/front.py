"""The way in through the public front: does an identifier arrive as it was sent?

A base URI is answered with a redirect that names the identifier as it arrived, and no source is
asked for it: so any identifier will do, and what the front did to it can be seen.
"""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from iiif_proxy.commands.options import Mistake
from iiif_proxy.iiif.urls import encode, identifier
from iiif_proxy.values import is_url

NO_PATH = (
    "proxy_pass with a path (even a lone /) makes nginx decode and rewrite the address",
    "proxy_pass http://iiif;                      # no path, no slash at the end",
)
PLUS = ("something in front turns + into a space (a CDN or a firewall)", None)
# As sent; what is wrong if it arrives otherwise, and the right line.
NAMES: list[tuple[str, str, tuple[str, str | None]]] = [
    ("a slash, %2F", "check%2Fa.jpg", NO_PATH),
    ("two slashes, %2F%2F", "https:%2F%2Fexample.org%2Fa.jpg", NO_PATH),
    ("an encoded escape, %252F", "check%252Fa.jpg", NO_PATH),
    ("a plus, +", "check+a.jpg", PLUS),
    ("a space, %20", "check%20a.jpg", NO_PATH),
    ("a question mark, %3F", "check%3Fa.jpg", NO_PATH),
    ("a per cent sign, %25", "100%25.jpg", NO_PATH),
    ("an ö, %C3%B6", "%C3%B6.jpg", NO_PATH),
]
LONG = "x" * 3900
LONG_LINE = "large_client_header_buffers 4 16k;           # http or server"
ANSWER_LINE = "proxy_buffer_size 16k; proxy_buffers 8 16k; # location"
Answer = tuple[int, Mapping[str, list[str]], bytes]


@dataclass
class Front:
    """A public address: `base` without a slash at its end."""

    base: str

    def ask(self, path: str, method: str = "GET", **fields: str) -> Answer:
        """Sent exactly so. Raises OSError, http.client.HTTPException."""
        parts = urlsplit(self.base)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=15)
        try:
            connection.putrequest(method, parts.path + path, skip_accept_encoding=True)
            for name, value in fields.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            headers: dict[str, list[str]] = {}
            for name, value in answer.getheaders():
                headers.setdefault(name.lower(), []).append(value)
            return answer.status, headers, answer.read()
        finally:
            connection.close()


class Report:
    def __init__(self) -> None:
        self.faults = 0

    def well(self, what: str) -> None:
        print(f"ok    {what}")

    def fault(self, what: str, cause: str, line: str | None = None) -> None:
        self.faults += 1
        print(f"FAULT {what}\n      {cause}")
        if line:
            print(f"      nginx: {line}")


def check(url: str) -> int:
    url = url.rstrip("/")
    if not is_url(url):
        raise Mistake(f"{url!r} is not an http or https URL")
    front, report = Front(url), Report()
    try:
        status, _, body = front.ask("/-/health")
        if status != 200 or b'"status"' not in body:
            report.fault(
                f"{url}/-/health answers {status}",
                "there is no iiif-proxy behind this address: is the path the prefix (/iiif)?",
                "location / { proxy_pass http://iiif; }",
            )
            return 1
        report.well(f"{url} is an iiif-proxy")
        names(front, report)
        addresses(front, report)
        methods(front, report)
        lengths(front, report)
    except (OSError, http.client.HTTPException) as fault:
        report.fault(f"{url} cannot be asked", f"{type(fault).__name__}: {fault}")
    print("\nAll is well." if not report.faults else f"\n{report.faults} faults.")
    return 1 if report.faults else 0


def led(front: Front, sent: str) -> tuple[int, str]:
    """Where the redirect leads. As its body says it: nginx rewrites Location, but no info.json."""
    status, _, body = front.ask(f"/3/{sent}")
    return status, body.decode("utf-8", "replace").strip().removeprefix("See ")


def names(front: Front, report: Report) -> None:
    for what, sent, (cause, line) in NAMES:
        status, location = led(front, sent)
        wanted = f"/{encode(identifier(sent))}/info.json"
        arrived = location.partition("/3")[2]
        if status == 303 and location.endswith("/3" + wanted):
            report.well(f"{what} arrives as it is")
        elif status == 303:
            got = arrived.removesuffix("/info.json")
            report.fault(f"{what}: /{sent} arrives as {got}", cause, line)
        else:
            report.fault(f"{what}: answered with {status}", cause, line)


def addresses(front: Front, report: Report) -> None:
    """What the proxy says of its own address is what the public uses."""
    _, location = led(front, "check.jpg")
    if location.startswith(front.base + "/"):
        report.well("its own address is the public one")
        return
    found, public = urlsplit(location), urlsplit(front.base)
    line = "proxy_set_header Host $http_host;"
    if found.hostname == public.hostname and found.scheme != public.scheme:
        line = "proxy_set_header X-Forwarded-Proto $scheme;"
    elif found.netloc == public.netloc:
        line = "proxy_set_header X-Forwarded-Prefix /the/path/before/the/prefix;"
    report.fault(
        f"its own address: info.json would say {location.partition('/3/')[0]}",
        "the front does not tell the proxy its public address, or is not among the trusted "
        "(IIIF_PROXY_TRUSTED_PROXIES); IIIF_PROXY_BASE_URL ends all guessing",
        line,
    )


def methods(front: Front, report: Report) -> None:
    status, headers, body = front.ask("/-/health", "HEAD")
    if status == 200 and not body:
        report.well("HEAD is answered")
    else:
        report.fault(f"HEAD is answered with {status}", "let GET, HEAD and OPTIONS through")
    fields = {"Origin": "https://viewer.example", "Access_Control_Request_Method": "GET"}
    status, headers, _ = front.ask("/3/check.jpg/info.json", "OPTIONS", **fields)
    allowed = headers.get("access-control-allow-origin", [])
    once = "remove add_header Access-Control-…: the proxy says it itself"
    if status in {200, 204} and allowed == ["*"]:
        report.well("viewers on other sites may ask (preflight)")
    elif len(allowed) > 1:
        report.fault("Access-Control-Allow-Origin comes twice: browsers refuse that", once)
    else:
        report.fault(f"preflight: {status}, Access-Control-Allow-Origin {allowed}", once)
    _, headers, _ = front.ask("/-/health", Origin="https://viewer.example")
    if len(headers.get("access-control-allow-origin", [])) > 1:
        report.fault("Access-Control-Allow-Origin comes twice: browsers refuse that", once)


def lengths(front: Front, report: Report) -> None:
    status, _, _ = front.ask(f"/3/{LONG}")
    if status == 303:
        report.well("long identifiers arrive")
    else:
        cause = f"an address of {len(LONG)} characters is refused"
        if status == 502:
            cause = "the headers of the answer name it again, and are too large for nginx"
        line = ANSWER_LINE if status == 502 else LONG_LINE
        report.fault(f"long identifiers: {status}", cause, line)
