"""Threads that take a part of one answer."""

import os
import threading

import pytest

from iiif_proxy.imaging import helpers
from iiif_proxy.imaging.helpers import each, together


def test_both_at_once() -> None:
    """Each waits for the other."""
    both = threading.Barrier(2, timeout=30)
    assert sorted(together(both.wait, both.wait)) == [0, 1]
    assert list(each(str, range(100))) == [str(number) for number in range(100)]


def test_nobody_waits_for_a_thread_that_is_busy() -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        go.wait(30)

    threads = [threading.Thread(target=lambda: [*each(lambda _: work(), range(50))])]
    threads[0].start()
    begun.acquire()
    try:
        here = threading.get_ident()
        assert together(threading.get_ident, threading.get_ident) == (here, here)
    finally:
        go.set()
        threads[0].join()


def test_without_a_thread_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    helpers._forget_threads()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert together(lambda: 1, lambda: 2) == (1, 2)
    monkeypatch.undo()
    helpers._forget_threads()
    assert together(lambda: 1, lambda: 2) == (1, 2)


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
