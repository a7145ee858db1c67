"""One request at a time to an origin that does not answer, and all of them once it does."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from iiif_proxy.concurrency import circuit as module
from iiif_proxy.concurrency.circuit import Circuit, Circuits
from iiif_proxy.errors import OriginFailed, OriginTimeout

Event = threading.Event


def silence(circuit: Circuit) -> None:
    with pytest.raises(OriginTimeout, match="silent"), circuit.turn():
        raise OriginTimeout("silent")


def silent_circuit(**told: Callable[..., None]) -> Circuit:
    circuit = Circuit("a:80", **told)
    for _ in range(module.SILENCES):
        silence(circuit)
    return circuit


def test_who_asks_alone_is_never_refused() -> None:
    circuit = silent_circuit()
    for _ in range(5):
        silence(circuit)
    with circuit.turn():
        pass
    assert not circuit.silent


def test_one_asks_the_others_are_refused_at_once() -> None:
    refused: list[None] = []
    circuit = silent_circuit(refused=lambda: refused.append(None))
    with circuit.turn():
        for _ in range(3):
            with pytest.raises(OriginTimeout, match="has not answered") as caught:
                circuit.turn()
            assert int(caught.value.headers["Retry-After"]) > 0
    assert len(refused) == 3
    with circuit.turn(), circuit.turn():
        pass


def test_an_answer_in_between_starts_the_count_anew() -> None:
    circuit = Circuit("a:80")
    for _ in range(5):
        for _ in range(module.SILENCES - 1):
            silence(circuit)
        with circuit.turn():
            pass
    assert not circuit.silent


def test_what_fails_quickly_holds_nobody_up() -> None:
    circuit = Circuit("a:80")
    for _ in range(9):
        with contextlib.suppress(OriginFailed), circuit.turn():
            raise OriginFailed("refused")
    assert not circuit.silent


def test_what_fails_slowly_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW", 0.0)
    circuit = Circuit("a:80")
    for _ in range(module.SILENCES):
        with contextlib.suppress(OriginFailed), circuit.turn():
            raise OriginFailed("no route to host")
    assert circuit.silent


def test_it_is_told_when_it_changes() -> None:
    changes: list[bool] = []
    circuit = silent_circuit(changed=changes.append)
    with circuit.turn():
        pass
    with circuit.turn():
        pass
    assert changes == [True, False]


def test_a_probe_that_goes_wrong_otherwise_lets_the_next_ask() -> None:
    circuit = silent_circuit()
    with pytest.raises(KeyError), circuit.turn():
        raise KeyError
    silence(circuit)


def test_of_many_at_once_one_asks() -> None:
    circuit = silent_circuit()
    go, asked = Event(), []

    def ask(number: int) -> bool:
        try:
            with circuit.turn():
                asked.append(number)
                go.wait(20)
        except OriginTimeout:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        results = [threads.submit(ask, number) for number in range(8)]
        deadline = time.monotonic() + 20
        while sum(result.done() for result in results) < 7 and time.monotonic() < deadline:
            time.sleep(0.005)
        go.set()
        assert sorted(result.result() for result in results) == [False] * 7 + [True]


def test_a_child_asks_although_its_parent_was_asking() -> None:
    circuit = silent_circuit()
    with circuit.turn():
        child = os.fork()
        if not child:
            code = 1
            try:
                with circuit.turn():
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_each_host_has_its_own() -> None:
    circuits = Circuits()
    assert circuits.of("a", 80) is circuits.of("a", 80)
    assert circuits.of("a", 80) is not circuits.of("a", 81)
