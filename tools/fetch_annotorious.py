"""Put Annotorious for OpenSeadragon (BSD-3-Clause) into the package, so that it obeys our policy.

`python -m tools.fetch_annotorious [--optional]`. It draws with Pixi 7 (MIT), which makes functions
from text unless @pixi/unsafe-eval (MIT) does that part; in Annotorious' bundle there is no way to
hand it in, so one line of the bundle is changed: where Pixi asks whether it may, it is told how to
do without. Exit code 1 if it is not there afterwards, unless --optional: then there is no page to
annotate.
"""

import os
import sys
import tempfile
from pathlib import Path

from tools.npm import NotFetched, Package, fetched, member

PLACE = Path(__file__).parent.parent / "iiif_proxy" / "web" / "static" / "annotorious"
ANNOTORIOUS = Package(
    "@annotorious/openseadragon",
    "3.8.10",
    "APvir1z3DXRbMnQtR9cUG1dhUHp1MurPfjck626UGMrcIyLB342h8zE5QuU8fSp+QJCaAyrJiYmfo/0T1Tva4g==",
)
WITHOUT_EVAL = Package(
    "@pixi/unsafe-eval",
    "7.4.3",
    "iR2iLcMculCSmn3x446ICCL5iokmFuLZDgNo7k1Q5rzNiULELIixfpSJwvlJqrJPY1kda0oqGHgVGRQ2vGfaLg==",
)
ASKS = b"systemCheck(){if("
TOLD = b"systemCheck(){if(globalThis.pixiWithoutEval){globalThis.pixiWithoutEval(this);return}if("
LICENSE = """Annotorious for OpenSeadragon {annotorious}, https://annotorious.dev, BSD-3-Clause
PixiJS 7, https://pixijs.com, within Annotorious, and @pixi/unsafe-eval {pixi}: MIT
One line of Annotorious' bundle is changed by tools/fetch_annotorious.py of iiif-proxy.
"""
# It installs itself into PIXI.ShaderSystem; from there Annotorious' own copy of Pixi gets it.
BEFORE = b"""globalThis.PIXI = { ShaderSystem: class { systemCheck() {} syncUniforms() {} } };
globalThis.pixiWithoutEval = (system) => {
  system.systemCheck = () => {};
  system.syncUniforms = PIXI.ShaderSystem.prototype.syncUniforms;
};
(function () {
"""
AFTER = b"\n}).call(globalThis);\n"


def files(folder: Path) -> dict[str, bytes]:
    """Raises NotFetched."""
    annotorious, pixi = fetched(ANNOTORIOUS, folder), fetched(WITHOUT_EVAL, folder)
    bundle = member(annotorious, "package/dist/annotorious-openseadragon.js")
    if bundle.count(ASKS) != 1:
        raise NotFetched("Annotorious' bundle has changed")
    bundle = bundle.replace(ASKS, TOLD)
    bundle = bundle.partition(b"//# sourceMappingURL")[0]
    shader = member(pixi, "package/dist/unsafe-eval.min.js").partition(b"//# sourceMapping")[0]
    text = LICENSE.format(annotorious=ANNOTORIOUS.version, pixi=WITHOUT_EVAL.version)
    return {
        "without-eval.js": BEFORE + shader + AFTER,
        "annotorious.css": member(annotorious, "package/dist/annotorious-openseadragon.css"),
        "LICENSE.txt": text.encode() + b"\n" + member(pixi, "package/LICENSE"),
        "annotorious.js": bundle,
    }


def main(arguments: list[str]) -> int:
    version = PLACE / "LICENSE.txt"
    if version.is_file() and ANNOTORIOUS.version in version.read_text("utf-8"):
        return 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = files(Path(folder))
    except NotFetched as error:
        print(f"Annotorious {ANNOTORIOUS.version} is not here: {error}.", file=sys.stderr)
        return 0 if "--optional" in arguments else 1
    PLACE.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        with tempfile.NamedTemporaryFile(dir=PLACE, delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o644)
        os.replace(file.name, PLACE / name)
    print(f"Annotorious {ANNOTORIOUS.version} is in {PLACE.relative_to(PLACE.parents[3])}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
