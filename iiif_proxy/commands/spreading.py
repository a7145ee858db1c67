"""`warm --engine celery`: what is to be made is given to workers, here and elsewhere."""

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from kombu.exceptions import OperationalError

from iiif_proxy.commands.inside import complain
from iiif_proxy.commands.options import Mistake
from iiif_proxy.commands.working import Progress
from iiif_proxy.engine import MAKE, SPLIT, Run, celery

# New images are begun while fewer tasks are queued or under way; and paths in one of them.
WINDOW = 256
PART = 16
SECOND = 1
LOST = (redis.ConnectionError, redis.TimeoutError, OperationalError, ConnectionError)


@dataclass(slots=True)
class Task:
    """What a worker is asked for; `todo` is what has not been heard of, in its order."""

    kind: str
    image: str
    todo: dict[str, None]


class Spreading:
    """Tasks in the queue, and what came of them.

    All that workers do may be done twice: what is there is not made again. So whatever may have
    been lost is asked for again: when Redis has forgotten the run, and when nothing is queued and
    no worker has said anything for `patience` seconds.
    """

    def __init__(
        self, broker: str, asked: Mapping[str, Any], progress: Progress, patience: float
    ) -> None:
        name = secrets.token_hex(8)
        self._name = name
        self._asked = dict(asked)
        self._progress = progress
        self._patience = patience
        self._celery = celery(broker)
        self._run = Run(broker, name)
        self._open: dict[str, Task] = {}
        self._unsent: deque[tuple[str, Task]] = deque()
        self._tasks = 0
        self._heard = 0.0
        self._away = False

    def all(self, names: Iterable[str]) -> None:
        """Until everything is made or given up; an interrupt cancels what is queued.

        Raises Mistake when the broker does not answer at the start. Later it is waited for.
        """
        try:
            self._run.remembered()
        except redis.RedisError as cause:
            raise Mistake(f"The broker does not answer: {cause}") from cause
        self._heard = time.monotonic()
        images = iter(names)
        try:
            while self._step(images):
                pass
            with contextlib.suppress(redis.RedisError):
                self._run.end()
        except KeyboardInterrupt:
            with contextlib.suppress(redis.RedisError):
                self._run.cancel()
            complain("What is queued is cancelled. Started again, it goes on where it was.")
            raise
        finally:
            self._run.close()
            self._celery.close()

    def _step(self, images: Iterator[str]) -> bool:
        """Whether there is more to do."""
        try:
            if not self._run.remembered() and self._open:
                self._again("The broker has lost what was queued: it is queued again.")
            if self._away:
                complain("The broker answers again.")
                self._away = False
            self._fill(images)
            if not self._open:
                return False
            said = self._run.said(SECOND)
            if said is not None:
                self._take(said)
            elif time.monotonic() - self._heard > self._patience and not self._run.queued():
                self._again("Of what workers have taken nothing is heard: it is queued again.")
        except LOST:
            if not self._away:
                complain("The broker does not answer: it is waited for.")
            self._away = True
            self._heard = time.monotonic()
            time.sleep(SECOND)
        return True

    def _fill(self, images: Iterator[str]) -> None:
        """What was found to do comes before further images."""
        while self._unsent or len(self._open) < WINDOW:
            if not self._unsent:
                image = next(images, None)
                if image is None:
                    return
                self._add(SPLIT, image, [image])
            name, task = self._unsent[0]
            arguments = [self._name, name, task.image, list(task.todo), self._asked]
            self._celery.send_task(task.kind, arguments, retry=False)
            # Not before: what could not be sent is sent when the broker is back.
            self._unsent.popleft()

    def _add(self, kind: str, image: str, todo: Sequence[str]) -> None:
        self._tasks += 1
        name, task = str(self._tasks), Task(kind, image, dict.fromkeys(todo))
        self._open[name] = task
        self._unsent.append((name, task))

    def _again(self, why: str) -> None:
        complain(why)
        self._heard = time.monotonic()
        self._unsent = deque(self._open.items())

    def _take(self, said: Mapping[str, Any]) -> None:
        """Of what came twice only the first counts."""
        self._heard = time.monotonic()
        name, what = said["task"], said["what"]
        task = self._open.get(name)
        if task is None or what not in task.todo:
            return
        if "fault" in said:
            if task.kind == SPLIT:
                self._progress.image(1)
            self._progress.fault(what, said["fault"], task.image)
        elif "tasks" in said:
            self._progress.image(len(said["tasks"]))
            for at in range(0, len(said["tasks"]), PART):
                self._add(MAKE, task.image, said["tasks"][at : at + PART])
        else:
            made, size = said["made"]
            self._progress.done((made, size))
        del task.todo[what]
        if not task.todo:
            del self._open[name]
