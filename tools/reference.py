"""docs/reference.md, made from the code: `python -m tools.reference` writes it, a test compares."""

import argparse
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from iiif_proxy import cli, errors, metrics
from iiif_proxy.settings import table
from iiif_proxy.web.telling import Checks, Stores

PLACE = Path(__file__).parent.parent / "docs" / "reference.md"
HEAD = """# Reference

Made by `python -m tools.reference` from the code; do not edit.

## Settings

Environment variables, or keywords of `IIIFProxy` without the prefix and in lower case.

"""


def statuses() -> str:
    lines = ["| status | when |", "|---|---|"]
    known = errors.ProxyError.__subclasses__()
    for error in sorted(known, key=lambda error: error.status):
        when = " ".join((error.__doc__ or "").split()).replace("|", "\\|")
        lines.append(f"| {error.status} {error.reason} | {when} |")
    return "\n".join(lines)


def series() -> str:
    lines = ["| metric | kind | labels | what it is |", "|---|---|---|---|"]
    rows = []
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            labels = ", ".join(metric._labelnames)
            rows.append((family.name, family.type, labels, family.documentation))
    for label, collector in (("store", Stores({})), ("check", Checks(dict))):
        for family in collector.collect():
            rows.append((family.name, family.type, label, family.documentation))
    for name, kind, labels, text in sorted(rows):
        shown = f"{name}_total" if kind == "counter" else name
        lines.append(f"| `{shown}` | {kind} | {labels} | {text} |")
    return "\n".join(lines)


def commands() -> str:
    parser = cli.parser()
    [several] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    parts = []
    for name, command in several.choices.items():
        parts.append(f"### iiif-proxy {name}\n\n{command.description}\n")
        rows = [row(action) for action in command._actions if action.dest != "help"]
        if rows:
            parts.append("\n".join(["| argument | what it is |", "|---|---|", *rows]) + "\n")
        examples = (command.epilog or "").partition("exit codes:")[0].partition("\n")[2].rstrip()
        parts.append(f"```\n{examples}\n```\n")
    codes = " ".join(cli.EXIT_CODES.split())
    return "\n".join(parts) + f"\n{codes[0].upper()}{codes[1:]}.\n"


def row(action: argparse.Action) -> str:
    value = action.metavar or (
        "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
    )
    shown = str(value)
    if action.option_strings:
        shown = action.option_strings[0] + (f" {value}" if action.nargs != 0 else "")
    text = action.help or ""
    default = action.default
    if "%(default)s" in text:
        text = text.replace("%(default)s", str(default))
    return f"| `{shown}` | {text} |".replace("||", "|").replace("2|3", "2 or 3")


def text() -> str:
    return (
        f"{HEAD}{table()}\n## Status codes\n\n200, 303 and 304 as HTTP and the Image API have it."
        f"\n\n{statuses()}\n\n## Metrics\n\nAt `/-/metrics`, of all processes of `serve` together."
        f"\n\n{series()}\n\n## Commands\n\n{commands()}"
    )


if __name__ == "__main__":
    PLACE.write_text(text(), "utf-8")
