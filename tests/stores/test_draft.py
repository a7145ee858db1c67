"""Objects are whole before the disk is touched."""

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from iiif_proxy.stores import draft
from iiif_proxy.stores.draft import Draft
from tests.stores.conftest import ROOT

# A limit on file sizes cuts a write short just as a full disk does.
SHORT = """
import io, os, resource, sys
from PIL import Image
from iiif_proxy.stores.base import Key, NullStore
from iiif_proxy.stores.disk import DiskStore
pixels = Image.effect_noise((256, 256), 60)
due = io.BytesIO()
pixels.save(due, "JPEG")
due = due.getvalue()
limit = len(due) - 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with open(sys.argv[1] + "/plain.jpg", "w+b") as file:
    pixels.save(file, "JPEG")
assert os.path.getsize(sys.argv[1] + "/plain.jpg") == limit, "Pillow notices by now: good news"
for store in (NullStore(), DiskStore(sys.argv[1] + "/store", 1 << 30)):
    entry = store.put(Key("g", "v", "n.jpg"), lambda file: pixels.save(file, "JPEG"))
    with entry:
        assert entry.read() == due
    assert store.get(Key("g", "v", "n.jpg")) is None
"""


def test_a_short_write_that_pillow_does_not_notice_stores_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SHORT, str(tmp_path)], check=True, timeout=30, cwd=ROOT)


class TestSpilling:
    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(draft, "SPILL", 200_000)

    def spill(self, folder: Path) -> tuple[int, str]:
        path = str(folder / "spilled")
        return os.open(path, os.O_RDWR | os.O_CREAT), path

    def test_large_drafts_move_to_the_disk_and_leave_no_name(self, tmp_path: Path) -> None:
        data = os.urandom(500_000)
        with Draft(lambda: self.spill(tmp_path)) as made:
            for start in range(0, len(data), 70_000):
                made.file.write(data[start : start + 70_000])
            made.finish()
            assert made.size == len(data)
            assert (tmp_path / "spilled").read_bytes() == data
            descriptor = made.take()
        assert descriptor is not None
        assert os.read(descriptor, len(data)) == data
        os.close(descriptor)
        assert list(tmp_path.iterdir()) == []

    def test_it_comes_back_when_the_disk_is_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = os.urandom(900_000)
        write = os.write
        full = os.stat(tmp_path).st_dev

        def refuses(descriptor: int, block: bytes) -> int:
            status = os.fstat(descriptor)
            if status.st_dev == full and status.st_size + len(block) > 500_000:
                # As a file system does: first a part, then the error.
                part = 500_000 - status.st_size
                if part <= 0:
                    raise OSError(28, "No space left on device")
                return write(descriptor, block[:part])
            return write(descriptor, block)

        monkeypatch.setattr(os, "write", refuses)
        with Draft(lambda: self.spill(tmp_path)) as made:
            for start in range(0, len(data), 70_000):
                made.file.write(data[start : start + 70_000])
            made.finish()
            assert made.spilled is None
            descriptor = made.take()
        assert descriptor is not None
        assert os.pread(descriptor, len(data) + 1, 0) == data
        os.close(descriptor)
        assert list(tmp_path.iterdir()) == []

    def test_what_others_write_to_stays_in_memory(self, tmp_path: Path) -> None:
        with Draft(lambda: self.spill(tmp_path)) as made:
            made.file.fileno()
            made.file.write(bytes(400_000))
            made.finish()
            assert (made.size, made.spilled) == (400_000, None)

    def test_what_is_on_the_disk_is_not_written_to_by_others(self, tmp_path: Path) -> None:
        with Draft(lambda: self.spill(tmp_path)) as made:
            made.file.write(bytes(400_000))
            made.file.flush()
            assert made.spilled
            with pytest.raises(io.UnsupportedOperation):
                made.file.fileno()
            # Pillow knows what that means.
            Image.effect_noise((96, 64), 60).save(made.file, "JPEG")
            made.finish()
            assert made.size > 402_000

    def test_given_up_with_unwritten_bytes_it_writes_nowhere(self, tmp_path: Path) -> None:
        made = Draft(lambda: self.spill(tmp_path))
        made.file.write(b"buffered")
        made.close()
        with open(tmp_path / "innocent", "wb") as other:
            made.file.flush()
            assert os.fstat(other.fileno()).st_size == 0


def test_without_descriptors_it_is_in_python_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        made = Draft()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with made:
        made.file.write(b"abc")
        made.finish()
        assert (made.size, made.bytes(), made.take()) == (3, b"abc", None)
