"""A header that never ends is refused after a bounded number of reads."""

import io

import pytest

from iiif_proxy.errors import OriginFailed
from iiif_proxy.imaging.reader import probe


@pytest.mark.parametrize("whole", [True, False])
def test_blanks_without_end_are_no_header(whole: bool) -> None:
    file = io.BytesIO(b"P6" + b" " * (4 << 20))
    with pytest.raises(OriginFailed):
        probe(file, whole=whole)
    assert file.tell() < 200_000
