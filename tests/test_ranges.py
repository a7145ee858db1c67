"""Bytes at random: coalescing, the block cache, files."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iiif_proxy.errors import OriginFailed
from iiif_proxy.ranges import BlockCache, FileSource, Span, coalesce, read_coalesced

DATA = bytes((i * 7 + i // 251) % 256 for i in range(200_000))


class Memory:
    def __init__(self, size: int | None = len(DATA)) -> None:
        self.size = size
        self.trips: list[list[Span]] = []

    def read(self, offset: int, size: int) -> bytes:
        return self.read_many([(offset, size)])[0]

    def read_many(self, spans: list[Span]) -> list[bytes]:
        self.trips.append(spans)
        return [DATA[offset : offset + size] for offset, size in spans]


SPANS = st.lists(st.tuples(st.integers(0, 210_000), st.integers(1, 9_000)), max_size=12)


def test_neighbours_become_one_span() -> None:
    assert coalesce([(100, 10), (0, 50), (60, 40)], gap=0) == [(0, 50), (60, 50)]
    assert coalesce([(100, 10), (0, 50), (60, 40)], gap=10) == [(0, 110)]
    assert coalesce([(0, 10), (2, 3)], gap=0) == [(0, 10)]
    assert coalesce([(0, 10), (10, 10), (20, 10)], gap=0, most=20) == [(0, 20), (20, 10)]
    assert coalesce([], gap=5) == []


@given(SPANS, st.integers(0, 5000))
def test_coalesced_spans_cover_all_and_keep_their_distance(spans: list[Span], gap: int) -> None:
    merged = coalesce(spans, gap)
    for offset, size in spans:
        assert any(start <= offset and offset + size <= start + n for start, n in merged)
    for (start, size), (following, _) in itertools.pairwise(merged):
        assert following > start + size + gap


@given(SPANS, st.integers(0, 5000))
def test_read_coalesced_is_one_trip_and_the_same_bytes(spans: list[Span], gap: int) -> None:
    source = Memory()
    assert read_coalesced(source, spans, gap) == [DATA[o : o + n] for o, n in spans]
    assert len(source.trips) == (1 if spans else 0)


@given(st.lists(SPANS, max_size=6), st.booleans(), st.integers(0, 3000))
def test_the_cache_answers_as_its_source(
    rounds: list[list[Span]], size_known: bool, head: int
) -> None:
    source = Memory(len(DATA) if size_known else None)
    cache = BlockCache(source, block=4096, tail=10_000, limit=40_000, head=DATA[:head])
    for spans in rounds:
        before = len(source.trips)
        assert cache.read_many(spans) == [DATA[o : o + n] for o, n in spans]
        assert len(source.trips) - before <= 1
        assert sum(len(data) for _, data in cache._kept) <= 40_000


def test_a_block_around_what_was_read_is_kept() -> None:
    source = Memory()
    cache = BlockCache(source, block=4096, tail=0)
    cache.read(50_000, 10)
    cache.read(50_500, 3000)
    cache.read(49_900, 100)
    assert source.trips == [[(49_744, 4096)]]
    assert cache.peek(50_000, 10) == DATA[50_000:50_010]
    assert cache.peek(80_000, 10) is None


def test_near_the_end_the_rest_comes_along() -> None:
    source = Memory()
    cache = BlockCache(source, block=4096, tail=30_000)
    cache.read(180_000, 2)
    cache.read(199_990, 10)
    assert len(source.trips) == 1
    assert cache.read(len(DATA) + 5, 10) == b""
    assert len(source.trips) == 1


def test_a_head_that_is_known_is_not_read_again() -> None:
    source = Memory()
    assert BlockCache(source, head=DATA[:1000]).read(10, 900) == DATA[10:910]
    assert source.trips == []


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    source = FileSource(path)
    assert source.size == len(DATA)
    assert source.read(10, 20) == DATA[10:30]
    assert source.read(len(DATA) - 5, 20) == DATA[-5:]
    assert source.read(len(DATA) + 5, 20) == b""
    assert source.read(1 << 70, 20) == b""
    assert source.read_many([(5, 5), (0, 1)]) == [DATA[5:10], DATA[:1]]
    # Another file in its place is not what was opened.
    other = tmp_path / "other"
    other.write_bytes(b"x" * 100)
    os.replace(other, path)
    assert source.read(0, 5) == DATA[:5]

    def read(i: int) -> bool:
        return source.read(i * 100, 100) == DATA[i * 100 : i * 100 + 100]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(500)))
    source.close()
    source.close()
    with pytest.raises(OriginFailed):
        source.read(0, 1)


def test_a_file_that_is_gone_is_one_sentence_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(OriginFailed) as caught:
        FileSource(tmp_path / "secret-name")
    assert "secret" not in caught.value.public


def test_a_descriptor_goes_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    sources = [FileSource(path) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) >= before + 20
    sources.clear()
    assert len(os.listdir("/proc/self/fd")) <= before
