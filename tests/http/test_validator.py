"""The official iiif-validator, every test of it by name, against the running proxy.

It asks more than level 2 (mirroring, every format); all of it must pass but for EXCEPTIONS.
"""

import contextlib
import io
import random
import sys
import types
from typing import Any

import pytest
from PIL import Image

from tests.http.collection import saved
from tests.http.conftest import Proxy, Serving
from tests.servers import reply

# Two of its modules want libmagic before anything is run; neither of them runs on Python 3.
sys.modules.setdefault("magic", types.ModuleType("magic"))
with contextlib.redirect_stdout(io.StringIO()):
    from iiif_validator import validator

PYTHON_2 = "calls urllib.urlopen, which Python 3 has not; ours is test_formats.py"
EXCEPTIONS: dict[tuple[str, str], tuple[type[Exception], str]] = {
    ("2.0", "format_webp"): (AttributeError, PYTHON_2),
    ("3.0", "format_webp"): (AttributeError, PYTHON_2),
    ("2.0", "format_jp2"): (AttributeError, PYTHON_2),
    ("3.0", "format_jp2"): (AttributeError, PYTHON_2),
    ("2.0", "format_pdf"): (AttributeError, PYTHON_2),
    ("3.0", "format_pdf"): (AttributeError, PYTHON_2),
    ("3.0", "size_noup"): (
        TypeError,  # of its own making: ValidatorError() without arguments
        "wants !2000,3000 of 1000x1000 to fail, where 3.0, 4.2 says as large as possible but not"
        " larger than the region (SPEC.md 7)",
    ),
    ("3.0", "size_up"): (
        validator.ValidatorError,
        "wants ^max of 1000x1000 to be that, where 3.0, 4.2 says scaled to the limits, and 5.2"
        " that who enlarges must declare limits (SPEC.md 9)",
    ),
}
# 2.0 asks for ,h above the region: sizeAboveFull, which is off unless it is switched on.
ENLARGING = {"upscaling": "on", "max_width": 2500}
# The validator's own; with hyphens, which one test escapes.
IDENTIFIER = "67352ccc-d1b0-11e1-89ae-279075081939.png"


def names(version: str) -> list[str]:
    return sorted(validator.TestSuite(validator.ValidationInfo()).list_tests(version))


def squares() -> bytes:
    """Its test image: ten by ten squares of 100 pixels; colorInfo has columns of rows."""
    image = Image.new("RGB", (1000, 1000))
    for x, column in enumerate(validator.ValidationInfo().colorInfo):
        for y, colour in enumerate(column):
            image.paste(colour, (100 * x, 100 * y, 100 * x + 100, 100 * y + 100))
    return saved(image)


def validate(proxy: Proxy, version: str, name: str) -> None:
    """Raises what the validator's test raises."""
    body = squares()
    proxy.origin.routes["/" + IDENTIFIER] = reply("200 OK", [("ETag", '"squares"')], body)
    random.seed(f"{version} {name}")
    server, prefix = f"127.0.0.1:{proxy.served.port}", f"iiif/{version[0]}"
    # For a 2.1, which it has not heard of, it would make URLs of 1.1.
    spoken = "2.0" if version == "2.1" else version
    result = validator.ImageAPI(IDENTIFIER, server, prefix=prefix, version=spoken, debug=False)
    suite = validator.TestSuite(validator.ValidationInfo())
    with contextlib.redirect_stdout(io.StringIO()):
        suite.run_test(name, result)
    if result.exception is not None:
        raise result.exception


def cases() -> list[Any]:
    found = []
    for version in ("2.0", "2.1", "3.0"):
        for name in names(version):
            marks = []
            if (version, name) in EXCEPTIONS:
                error, reason = EXCEPTIONS[version, name]
                marks = [pytest.mark.xfail(raises=error, reason=reason, strict=True)]
            found.append(pytest.param(version, name, marks=marks, id=f"{version}-{name}"))
    return found


# It leaves the answers of errors open.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("version, name", cases())
def test_official_validator(proxy: Proxy, serving: Serving, version: str, name: str) -> None:
    validate(serving(**ENLARGING) if name == "size_up" else proxy, version, name)


def test_all_of_it_is_run() -> None:
    """43 and 45 tests in release 1.0.5: a name that vanished would otherwise be a test less."""
    assert (len(names("2.0")), len(names("2.1")), len(names("3.0"))) == (42, 1, 45)
    assert {name for _, name in EXCEPTIONS} <= set(names("3.0"))
