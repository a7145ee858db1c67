"""Viewers of the npm registry, for tests only: `python -m tests.viewers.packages` fetches them.

Into .viewers/, each whole and with its own integrity pinned. What cannot be had is said, and its
tests are skipped then.
"""

import sys
from pathlib import Path

from tools.npm import NotFetched, Package, unpacked

PLACE = Path(__file__).parent.parent.parent / ".viewers"
PACKAGES = {
    "mirador": Package(
        "mirador", "4.0.0",
        "uWsE9e2oqSc/lUu+vVwDGhTsycuhGsfZ2KfX6CLfXiT3wgGy6qT9+q5M3V9Zz72hkdIgsJugKesaowmRtYmvrA==",
    ),
    # 4.0.0 knows Authentication API 1.0; this branch of it the Authorization Flow API 2.0.
    "mirador-flow": Package(
        "@columbia-libraries/mirador", "4.0.0-alpha.16-8",
        "sjxxX6IcwN4v/2UlD7rTcoe8OSY3LNFWc0yqN/ZqiKA0Xy/hJxC8XUlWtSBd7w7TreYlvEmU8eDM9VV30dONwg==",
    ),
    "universalviewer": Package(
        "universalviewer", "4.4.0",
        "9OVs6uCzeQYw50jg8k2vEGq6hQFu7kEv9OOAlmqVH9duhrpg1xlIqcMIb2rhNQnAxTQd3R13gxJze9UYkiwdzg==",
    ),
    "clover": Package(
        "@samvera/clover-iiif", "3.3.8",
        "l28GoZK7qD402LXW/JpZy9FX33hgX0JFNRpcdR6DJhwus6m4WRT9SOPdMSwTDW+w33hWbIyRM2wWcJ4D141JlA==",
    ),
    "tify": Package(
        "tify", "0.35.0",
        "fIEtR4XMoqIif+ksLaxWLjZb4yBsYddfKzr/nRnK0QSj455sf6DuYYaFL4YW0ZSZq9Oy8w4N7G7WjRaTcy+eAg==",
    ),
    "leaflet": Package(
        "leaflet", "1.9.4",
        "nxS1ynzJOmOlHp+iL3FyWqK89GtNL8U8rvlMOsQdTTssxZwCXh8N2NB3GDQOL+YR3XnWyZAxwQixURb+FA74PA==",
    ),
    "leaflet-iiif": Package(
        "leaflet-iiif", "3.0.0",
        "WWejon+vWaJUPe4Lp/AidYMosyy82bU/OjVgHQCTUojFWaUxzs00Ao6pSd42EYw45S8SW2Drc4VsMb3sxSNUMQ==",
    ),
}  # fmt: skip


def main() -> int:
    for name, package in PACKAGES.items():
        try:
            PLACE.mkdir(exist_ok=True)
            unpacked(package, PLACE / "archives", PLACE / f"{name}-{package.version}")
        except NotFetched as error:
            sys.stderr.write(f"{name} {package.version} is not here nor tried: {error}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
