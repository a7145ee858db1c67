"""The completion scripts, made from the parser by shtab: `python -m tools.completions`."""

from pathlib import Path

import shtab

from iiif_proxy import cli
from iiif_proxy.commands.completion import SHELLS

PLACE = Path(cli.__file__).parent / "commands" / "completions"


def script(shell: str) -> str:
    return str(shtab.complete(cli.parser(), shell))


if __name__ == "__main__":
    for shell in SHELLS:
        (PLACE / shell).write_text(script(shell), "utf-8")
