"""Write the settings' table into README.md anew: `python tools/settings_table.py`."""

import re
from pathlib import Path

from iiif_proxy.settings import table

README = Path(__file__).parent.parent / "README.md"
PLACE = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


def main() -> None:
    text, places = PLACE.subn(lambda _: table(), README.read_text("utf-8"))
    if places != 1:
        raise SystemExit("README.md has no place for the table")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
