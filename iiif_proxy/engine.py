"""Celery as all who take part set it up, and what they tell each other beside it, in Redis.

Only imported where it is asked for (`[bulk]`): by `warm --engine celery`, by its workers, and by
servers that give them what takes long.
"""

import json
from collections.abc import Mapping
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from iiif_proxy.cluster import Away, Link

QUEUE = "iiif-proxy"
SPLIT = "iiif_proxy.split"
MAKE = "iiif_proxy.make"
ASKED = "iiif_proxy.asked"
# Seconds after which a task that a dead worker took is given to another; no task takes so long.
TAKEN = 900
# A task that ended more workers than so many is not given to another.
DEATHS = 2
# Seconds that what belongs to a run is kept after the last sign of life.
KEPT = 3600
# Seconds to wait for an answer of Redis; and of the queue, by workers (more than they let it wait
# for work) and by servers.
ANSWERS = 10.0
IDLE, HASTE = 30.0, 2.0


def celery(broker: str, answers: float = IDLE) -> Celery:
    """`broker`: redis://, rediss:// or unix://, as Celery wants it."""
    app = Celery("iiif_proxy", broker=broker.replace("unix://", "redis+socket://", 1))
    app.conf.update(
        task_default_queue=QUEUE,
        # Done only when it is done: whoever ends a worker loses nothing.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # What came of it goes into the list of its run.
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_transport_options={
            "visibility_timeout": TAKEN,
            # Else whoever waits for a machine that has vanished without a word waits for ever.
            "socket_timeout": answers,
            "socket_connect_timeout": min(answers, ANSWERS),
            "socket_keepalive": True,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # What is under way when the broker is lost is made; nobody makes it twice at once.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
    )
    return app


class Requests:
    """What visitors ask for and takes long, given to the workers. Raises Unsent."""

    # Seconds after which nobody wants it any more: who still asks has it made by the server.
    EXPIRES = 300

    def __init__(self, broker: str) -> None:
        self._celery = celery(broker, HASTE)
        self._link = Link(broker)

    def send(self, path: str) -> None:
        """An image by the path of its request."""
        try:
            # Celery's own way to a broker that is away takes 6 s to find out.
            self._link.do(lambda client: client.ping())
            self._celery.send_task(ASKED, [path], retry=False, expires=self.EXPIRES)
        except (Away, redis.RedisError, OperationalError, OSError) as cause:
            raise Unsent(str(cause)) from cause


class Unsent(Exception):
    """The broker does not answer."""


class Run:
    """What the command and the workers know of one run. Raises redis.RedisError."""

    def __init__(self, broker: str, name: str) -> None:
        self._redis = redis.Redis.from_url(
            broker, socket_timeout=ANSWERS, socket_connect_timeout=ANSWERS
        )
        self._key = f"{QUEUE}:run:{name}"

    # The command's side

    def remembered(self) -> bool:
        """Whether Redis still knows the run: it may have come back empty. Then it does again."""
        return not self._redis.set(self._key, "1", ex=KEPT, nx=True) and bool(
            self._redis.expire(self._key, KEPT)
        )

    def said(self, seconds: int) -> Mapping[str, Any] | None:
        """What a worker said next, if that comes within so many seconds."""
        found: Any = self._redis.blpop([f"{self._key}:said"], timeout=seconds)
        return None if found is None else json.loads(found[1])

    def queued(self) -> int:
        """Tasks that no worker has taken."""
        found: Any = self._redis.llen(QUEUE)
        return int(found)

    def cancel(self) -> None:
        """What is queued is dropped by whoever takes it."""
        self._redis.set(f"{self._key}:cancelled", "1", ex=24 * KEPT)

    def end(self) -> None:
        self._redis.delete(self._key, f"{self._key}:said", f"{self._key}:taken")

    # The workers' side

    def cancelled(self) -> bool:
        return bool(self._redis.exists(f"{self._key}:cancelled"))

    def taken(self, task: str) -> int:
        """Count how often a task was begun."""
        count: Any = self._redis.hincrby(f"{self._key}:taken", task, 1)
        self._redis.expire(f"{self._key}:taken", KEPT)
        return int(count)

    def say(self, what: Mapping[str, Any]) -> None:
        with self._redis.pipeline() as both:
            both.rpush(f"{self._key}:said", json.dumps(what))
            both.expire(f"{self._key}:said", KEPT)
            both.execute()

    def close(self) -> None:
        self._redis.close()
