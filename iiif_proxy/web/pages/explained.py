"""`/-/explain/{path}`: the explanation of an address, as a page or as JSON."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from iiif_proxy.web.pages.page import table


class Part(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def written(self) -> str: ...
    @property
    def means(self) -> str: ...
    @property
    def fault(self) -> bool: ...


class Explanation(Protocol):
    """What `iiif_proxy.explaining` finds."""

    @property
    def path(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def verdict(self) -> str: ...
    @property
    def rule(self) -> str | None: ...
    @property
    def rule_url(self) -> str | None: ...
    @property
    def instead(self) -> str | None: ...
    @property
    def parts(self) -> Sequence[Part]: ...
    @property
    def facts(self) -> Mapping[str, str]: ...


def advice(found: Explanation, base: str) -> str:
    """The rule and what to write instead, as HTML; `base` is the public address of the root."""
    lines = []
    if found.rule and found.rule_url:
        link = f'<a href="{html.escape(found.rule_url)}">{html.escape(found.rule)}</a>'
        lines.append(f"<p>The rule: {link}</p>")
    if found.instead:
        address = html.escape(sendable(base + found.instead))
        lines.append(f'<p>Instead: <a class="address" href="{address}">{address}</a></p>')
    faults = [part for part in found.parts if part.fault]
    if faults:
        items = [
            f"<dt>{html.escape(part.name)} <code>{html.escape(part.written)}</code></dt>"
            f"<dd>{html.escape(part.means)}</dd>"
            for part in faults
        ]
        lines.append("<dl>" + "".join(items) + "</dl>")
    return "\n".join(lines)


def body(found: Explanation, base: str) -> str:
    address = html.escape(sendable(base + found.path))
    kind = "well" if found.status < 400 else "fault"
    verdict = html.escape(found.verdict)
    parts = [
        "<h1>Why is it answered so?</h1>",
        f'<p><a class="address" href="{address}">{address}</a></p>',
        f'<p class="verdict {kind}"><strong>{found.status}</strong> {verdict}</p>',
        advice(found, base),
    ]
    if found.parts:
        rows = [
            f'<tr class="{"fault" if part.fault else "well"}">'
            f'<th scope="row">{html.escape(part.name)} '
            f"<code>{html.escape(part.written)}</code></th><td>{html.escape(part.means)}</td></tr>"
            for part in found.parts
        ]
        parts += ["<h2>How it was read</h2>", "<table>", *rows, "</table>"]
    if found.facts:
        parts += ["<h2>What it comes to</h2>", table(found.facts.items())]
    return "\n".join(parts)


def document(found: Explanation) -> dict[str, Any]:
    return {
        "path": found.path,
        "status": found.status,
        "verdict": found.verdict,
        "rule": found.rule,
        "instead": found.instead,
        "parts": [
            {"name": p.name, "written": p.written, "means": p.means, "fault": p.fault}
            for p in found.parts
        ],
        "facts": dict(found.facts),
    }


def sendable(address: str) -> str:
    """An address that a browser may follow: what came over the wire, with nothing odd in it."""
    return quote(address, safe="!#$%&'()*+,/:;=?@[]~^")
