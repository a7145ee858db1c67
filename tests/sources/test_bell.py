"""The bell, and a fork while somebody holds it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iiif_proxy.sources.bell import Bell


@pytest.fixture(params=["alone", "shared"])
def bell(request: pytest.FixtureRequest, tmp_path: Path) -> Bell:
    return Bell(tmp_path if request.param == "shared" else None)


def rung(bell: Bell) -> bool:
    """Whether a ring gets its turn."""

    def ring() -> None:
        with bell.ringing("a.jpg"):
            pass

    thread = threading.Thread(target=ring, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


@contextmanager
def a_child() -> Iterator[None]:
    """A forked process that does nothing, and holds whatever it was born with."""
    end, ours = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    try:
        yield
    finally:
        os.close(ours)
        os.waitpid(child, 0)


def test_it_is_heard_for_whom_it_rang(bell: Bell) -> None:
    before = bell.look()
    assert rung(bell)
    assert bell.rang("a.jpg", before)
    assert not bell.rang("b.jpg", before)
    with bell.ringing(None):
        pass
    assert bell.rang("b.jpg", before)


def test_a_child_is_not_held_up_by_a_thread_of_its_parent() -> None:
    bell = Bell(None)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with bell.silent():
            held.set()
            go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            # In this thread: a new one may pass for the parent's that holds the lock.
            with bell.ringing("a.jpg"):
                code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_child_does_not_keep_what_its_parent_let_go(bell: Bell) -> None:
    with bell.silent():
        child = a_child()
        child.__enter__()
    try:
        assert rung(bell)
    finally:
        child.__exit__(None, None, None)
