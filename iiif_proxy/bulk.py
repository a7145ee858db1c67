"""The workers of `iiif-proxy warm --engine celery`: `celery -A iiif_proxy.bulk worker`.

They have the settings of the server (the same environment), with IIIF_PROXY_BROKER among them.
"""

import functools
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from celery.utils.time import get_exponential_backoff_interval

from iiif_proxy.commands import inside
from iiif_proxy.commands.pace import Pace, origins
from iiif_proxy.commands.working import (
    LONGEST,
    TRIES,
    Warming,
    made,
    passing,
    reason,
    told,
)
from iiif_proxy.engine import ASKED, DEATHS, MAKE, SPLIT, Run, celery
from iiif_proxy.errors import ProxyError
from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import SettingsError, load
from iiif_proxy.stores.shared import flush_all

log = logging.getLogger(__name__)
# Seconds to tell the command what came of it, should Redis be away; it asks again for the rest.
SAYING = 20.0
# Seconds for what is on its way to the cache of all machines.
SHARING = 120.0


def broker() -> str:
    """Raises SettingsError."""
    settings = load(os.environ)
    if settings.broker is None:
        raise SettingsError(["IIIF_PROXY_BROKER: is needed by the workers"])
    if settings.cache_dir is None:
        raise SettingsError(["IIIF_PROXY_CACHE_DIR: is empty, so nothing would be kept"])
    return settings.broker


BROKER = broker()
app = celery(BROKER)


# Of these each process has its own, made after its fork.
@functools.cache
def proxy() -> IIIFProxy:
    return inside.proxy()


@functools.lru_cache(maxsize=4)
def run_of(name: str) -> Run:
    return Run(BROKER, name)


@functools.lru_cache(maxsize=4)
def pace_of(rate: str | None) -> Pace:
    return Pace(rate, origins(proxy().settings), BROKER)


Asked = Mapping[str, Any]


def split(task: Any, run: str, name: str, image: str, todo: Sequence[str], asked: Asked) -> None:
    """Say what is to be made of an image: `todo` is that alone."""
    _work(task, run, name, image, todo, asked)


def make(task: Any, run: str, name: str, image: str, todo: Sequence[str], asked: Asked) -> None:
    """Make some images of one source, by their paths; what is there is not made again."""
    _work(task, run, name, image, todo, asked)


def asked(path: str) -> None:
    """Make what a visitor waits for. (If it fails, the server does it again, and tells.)"""
    try:
        made(proxy(), path)
    except (ProxyError, OSError) as error:
        log.info("%s was asked for and cannot be made: %s", path, error)
    flush_all(SHARING)


app.task(name=ASKED)(asked)
app.task(bind=True, name=SPLIT)(split)
app.task(bind=True, name=MAKE)(make)


def _work(
    task: Any, name_of_run: str, name: str, image: str, todo: Sequence[str], asked: Asked
) -> None:
    """One after the other; those that may go well another time come back as a task of their own."""
    run, request = run_of(name_of_run), task.request
    if _cancelled(run):
        return
    if (request.delivery_info or {}).get("redelivered") and run.taken(name) > DEATHS:
        for what in todo:
            _say(run, {"what": what, "fault": "Its workers end whenever they make it."}, name)
        return
    later, last = [], request.retries >= TRIES
    for what in todo:
        if _cancelled(run):
            return
        said: dict[str, Any] = {"what": what}
        try:
            pace_of(asked["rate"]).wait(image)
            work = Warming(proxy(), **asked["what"])
            if task.name == SPLIT:
                said["tasks"] = list(work.tasks(what))
            else:
                said["made"] = work.make(what)
        except Exception as error:  # Whatever it is, the command must hear of it: it waits.
            if not last and (passing(error) or isinstance(error, redis.RedisError)):
                log.info("%s is tried again: %s", what, error)
                later.append(what)
                continue
            said["fault"] = reason(told(error))
        if not flush_all(SHARING):
            log.warning("the cache of all machines does not answer: %s is only here", what)
        _say(run, said, name)
    if later:
        wait = get_exponential_backoff_interval(1, request.retries, LONGEST, full_jitter=True)
        arguments = [name_of_run, name, image, later, asked]
        raise task.retry(args=arguments, countdown=max(wait, 0.5), max_retries=TRIES)


def _cancelled(run: Run) -> bool:
    try:
        return run.cancelled()
    except redis.RedisError:
        return False  # What is made now need not be made then.


def _say(run: Run, said: dict[str, Any], name: str) -> None:
    deadline = time.monotonic() + SAYING
    while True:
        try:
            run.say({"task": name, **said})
            return
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
