"""`warm --engine celery`: whatever ends in mid-job, in the end every image is made, as asked."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from redis import Redis

from iiif_proxy.engine import DEATHS, QUEUE
from tests.bulk.conftest import HELD, Bulk

NAMES = ["large.png", *(f"{300 + n}x200.png" for n in range(8))]


def made_here(bulk: Bulk, *names: str) -> dict[str, bytes]:
    """What the command makes by itself, in a cache of its own."""
    cache, bulk.cache = bulk.cache, bulk.folder / "here"
    assert bulk.ended(bulk.warm(*names, engine="local")) == 0, bulk.said()
    found = bulk.images()
    bulk.cache = cache
    return found


def test_two_workers_make_what_the_command_makes_by_itself(bulk: Bulk) -> None:
    workers = [bulk.worker(), bulk.worker()]
    assert bulk.ended(bulk.warm(*NAMES)) == 0, bulk.said()
    found = bulk.images()
    assert len(found) > 20
    assert f"{len(found)} made" in bulk.said()
    assert all(worker.poll() is None for worker in workers)
    again = bulk.warm(*NAMES)
    assert bulk.ended(again) == 0
    assert f"0 made (0 bytes), {len(found)} there already" in bulk.said()
    assert made_here(bulk, *NAMES) == found


def test_a_worker_is_killed_in_mid_job(bulk: Bulk) -> None:
    names = [f"{HELD}310x200.png", *NAMES]
    first = bulk.worker()
    warm = bulk.warm("--patience", "3", *names)
    bulk.until(bulk.asked)
    bulk.kill(first)
    bulk.worker()
    bulk.go.set()
    assert bulk.ended(warm) == 0, bulk.said()
    assert made_here(bulk, *names) == bulk.images()


def test_a_process_of_a_worker_is_killed_in_mid_job(bulk: Bulk) -> None:
    name = f"{HELD}311x200.png"
    worker = bulk.worker()
    warm = bulk.warm("--patience", "9999", name)
    bulk.until(bulk.asked)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    bulk.go.set()
    assert bulk.ended(warm) == 0, bulk.said()
    assert len(bulk.images()) >= 1


def test_what_ends_all_its_workers_is_given_up(bulk: Bulk) -> None:
    worker = bulk.worker()
    warm = bulk.warm("--patience", "9999", "--only", "!60,60", f"{HELD}311x200.png", "312x200.png")
    for death in range(1 + DEATHS):
        bulk.until(lambda least=death: len(bulk.asked()) > least)
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
    assert bulk.ended(warm) == 1, bulk.said()
    assert "Its workers end whenever they make it." in bulk.said().rpartition("Not made:")[2]
    assert len(bulk.images()) == 1


def test_redis_is_killed_in_mid_job_and_comes_back_empty(bulk: Bulk) -> None:
    names = [f"{HELD}312x200.png", *NAMES]
    bulk.worker()
    warm = bulk.warm(*names)
    bulk.until(bulk.asked)
    bulk.redis.kill()
    bulk.go.set()
    bulk.until(lambda: "it is waited for" in bulk.said())
    bulk.redis.start()
    assert bulk.ended(warm) == 0, bulk.said()
    assert "The broker has lost what was queued" in bulk.said()
    assert made_here(bulk, *names) == bulk.images()


def test_an_interrupt_cancels_what_is_queued(bulk: Bulk) -> None:
    warm = bulk.warm(*NAMES)
    redis = Redis.from_url(bulk.redis.url)
    bulk.until(lambda: redis.llen(QUEUE) == len(NAMES))
    warm.send_signal(signal.SIGINT)
    assert bulk.ended(warm) == 130, bulk.said()
    bulk.worker()
    bulk.until(lambda: redis.llen(QUEUE) == 0 and redis.hlen("unacked") == 0)
    redis.close()
    assert not bulk.images()
    assert not bulk.origin.requests


def test_what_fails_in_passing_is_tried_again_and_the_rest_is_told_at_the_end(bulk: Bulk) -> None:
    serve, failed = bulk.origin.default, []

    def failing(exchange: object) -> None:
        if "313x200" in exchange.request.target and len(failed) < 2:  # type: ignore[attr-defined]
            failed.append(exchange)
            exchange.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]
            return
        serve(exchange)  # type: ignore[operator]

    bulk.origin.default = failing
    bulk.worker()
    letters = bulk.folder / "failed.txt"
    names = ["313x200.png", "nothing", "broken.png", "314x200.png"]
    warm = bulk.warm("--only", "!60,60", "--rate", "50/second", "--failed", str(letters), *names)
    assert bulk.ended(warm) == 1, bulk.said()
    assert len(failed) == 2
    assert len(bulk.images()) == 2
    assert [line for line in letters.read_text().splitlines() if line[0] != "#"] == [
        "nothing",
        "broken.png",
    ]
    told = bulk.said().rpartition("Not made:\n")[2]
    assert told.splitlines()[0].startswith("  nothing: ")
    assert told.splitlines()[1].startswith("  broken.png: ")


def test_a_server_does_not_know_celery() -> None:
    code = "import iiif_proxy.proxy, iiif_proxy.cli, sys; iiif_proxy.cli.parser();"
    code += "sys.exit('celery' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_mistakes(bulk: Bulk) -> None:
    bulk.redis.kill()
    assert bulk.ended(bulk.warm("300x200.png")) == 2
    assert "The broker does not answer" in bulk.said()
    assert bulk.ended(bulk.warm("--broker", "amqp://x", "300x200.png")) == 2
    assert "--broker: 'amqp://x' is not redis://" in bulk.said()
