"""Threads that take a part of one answer."""

import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from iiif_proxy.imaging import helpers
from iiif_proxy.imaging.helpers import each


def together(*works: Callable[[], Any]) -> tuple[Any, ...]:
    return tuple(each(lambda work: work(), works))


def test_both_at_once() -> None:
    """Each waits for the other."""
    both = threading.Barrier(2, timeout=30)
    assert sorted(together(both.wait, both.wait)) == [0, 1]
    assert list(each(str, range(100))) == [str(number) for number in range(100)]


def test_nobody_waits_for_a_thread_that_is_busy() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> int:
        begun.release()
        go.wait(30)
        return number

    found: list[int] = []
    crowd = threading.Thread(target=lambda: found.extend(each(work, range(50))))
    crowd.start()
    for _ in range(1 + helpers._threads()._max_workers):
        begun.acquire()
    try:
        here = threading.get_ident()
        assert together(threading.get_ident, threading.get_ident) == (here, here)
        assert set(each(lambda _: threading.get_ident(), range(9))) == {here}
    finally:
        go.set()
        crowd.join()
    assert found == list(range(50))


def test_without_a_thread_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """And once, also when there are threads again; what it needed is not kept till then."""

    class Pixels:
        pass

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    helpers._forget_threads()
    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pixels = Pixels()
        gone = weakref.ref(pixels)
        assert together(int, lambda kept=pixels: done.append(id(kept))) == (0, None)
        assert [*each(lambda kept: done.append(id(kept)), [pixels] * 3)] == [None] * 3
        del pixels
        gc.collect()
        assert gone() is None
    both = threading.Barrier(2, timeout=30)
    together(both.wait, both.wait)
    assert len(done) == 4


def test_what_nobody_wants_any_more_is_not_begun() -> None:
    go, done = threading.Event(), []

    def fault(number: int) -> None:
        if number == 0:
            raise ValueError("no")
        go.wait(30)
        done.append(number)

    with pytest.raises(ValueError, match="no"):
        list(each(fault, range(100)))
    go.set()
    both = threading.Barrier(2, timeout=30)
    together(both.wait, both.wait)
    assert len(done) <= helpers._threads()._max_workers


@pytest.mark.parametrize("first", [True, False])
def test_what_is_raised_is_raised(first: bool) -> None:
    def fault() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        together(fault if first else int, int if first else fault)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_its_own() -> None:
    together(int, int)
    child = os.fork()
    if child == 0:
        os._exit(0 if together(int, int) == (0, 0) and [*each(str, "ab")] == ["a", "b"] else 1)
    assert os.waitpid(child, 0)[1] == 0
