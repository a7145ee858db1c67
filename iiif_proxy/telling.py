"""What is told of a request: counters, how long its stages took, one line in the log."""

import functools
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from secrets import token_hex
from typing import Any, TypeVar

from prometheus_client import Counter, Histogram

from iiif_proxy import metrics
from iiif_proxy.concurrency import Gated
from iiif_proxy.errors import ProxyError
from iiif_proxy.hitlines import LOGGER, Writer

# Each request at INFO; below `iiif_proxy` so that an application can turn it off by name.
log = logging.getLogger(LOGGER)
Environ = dict[str, Any]
Fields = list[tuple[str, str]]
T = TypeVar("T")
Labelled = TypeVar("Labelled", Counter, Histogram)
GIVEN = "iiif_proxy.request_id"  # In the environ: the id that came with the request.
REQUEST_ID = re.compile(r"[0-9A-Za-z._:@+/=-]{1,128}")
STATE = re.compile(r"iiif-proxy; (?:fwd=)?(\w+)")


@functools.lru_cache
def labelled(metric: Labelled, *values: str) -> Labelled:
    """`labels` once for all requests: it takes a lock at each call."""
    return metric.labels(*values)


HITS = metrics.DERIVATIVES.labels("hit")
MISSES = metrics.DERIVATIVES.labels("miss")
ANSWERED = metrics.REQUESTS.labels("image", "200")
IMAGE_BYTES = metrics.BYTES.labels("image")


class _Here(threading.local):
    """The request of this thread, and the time spent in stages within the current one."""

    request: "Told | None" = None
    inside: float = 0.0


_here = _Here()


class _Own:
    """The log where nobody else has arranged it."""

    writer: Writer | None = None


_own = _Own()


class Told:
    """One request while it is answered, as a context manager around the answering."""

    def __init__(self, kind: str, path: str, identifier: str | None, environ: Environ) -> None:
        self.kind = kind
        self.path = path
        self.identifier = identifier
        self.plan: str | None = None
        self.id: str = environ["HTTP_X_REQUEST_ID"]
        self._given = bool(environ.get(GIVEN))
        self.stages: dict[str, float] = {}
        self.status = 0
        self.size = 0
        self._bodiless = environ["REQUEST_METHOD"] == "HEAD"
        self.cache: str | None = None
        self._begun = time.perf_counter()
        self._outer: Told | None = None

    def __enter__(self) -> "Told":
        self._outer, _here.request = _here.request, self
        return self

    def __exit__(self, *_: object) -> None:
        _here.request = self._outer
        if not self.status:
            return
        if self.kind != "own" or self.status >= 400:
            labelled(metrics.REQUESTS, self.kind, str(self.status)).inc()
        if self.size:
            labelled(metrics.BYTES, self.kind).inc(self.size)
        if self.cache:
            (HITS if self.cache == "hit" else MISSES).inc()
        level = logging.DEBUG if self.kind == "own" else logging.INFO
        if log.isEnabledFor(level):
            line(level, self.facts(), self.stages)

    def watching(self, start_response: Callable[..., Any]) -> Callable[..., Any]:
        """A start_response that notes the answer, and tells a miss or a refusal what it was."""

        def start(status: str, fields: Fields, *exc_info: Any) -> Any:
            self.status = int(status[:3])
            for name, value in fields:
                if name == "Content-Length" and not self._bodiless:
                    self.size = int(value)
                elif name == "Cache-Status" and (found := STATE.match(value)):
                    self.cache = found[1] if self.status == 200 else None
            # Who gave an id gets it back. One of ours only where the log has a trace to look up:
            # other answers are the same each time they are asked for.
            given = self._given and (self.cache == "miss" or self.status >= 400)
            if given or self.status == 500:
                fields = [*fields, ("X-Request-Id", self.id)]
            if self.cache == "miss" and self.stages:
                fields += [("Server-Timing", timing(self.stages)), ("Timing-Allow-Origin", "*")]
            return start_response(status, fields, *exc_info)

        return start

    def facts(self) -> dict[str, Any]:
        taken = round((time.perf_counter() - self._begun) * 1000, 1)
        return {
            "kind": self.kind,
            "status": self.status,
            "cache": self.cache,
            "path": self.path,
            "identifier": self.identifier,
            "plan": self.plan,
            "bytes": self.size,
            "ms": taken,
            "request": self.id,
        }


def identify(environ: Environ, trusted: bool) -> None:
    """Give the request an id, which sub-requests carry on: X-Request-Id of peers that count."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    if not trusted or not REQUEST_ID.fullmatch(given):
        environ["HTTP_X_REQUEST_ID"] = token_hex(8)
    else:
        environ[GIVEN] = given


def hit(
    line_of: str | None, path: str, name: str, plan: str, size: int, begun: float, given: str
) -> None:
    """A stored image was answered at once: the same counters and the same line, for less.

    `line_of`: what `remembered` said; `given`: the id that a peer that counts gave the request.
    """
    HITS.inc()
    ANSWERED.inc()
    IMAGE_BYTES.inc(size)
    writer = _own.writer
    if writer is not None and line_of is not None:
        request = given if given and REQUEST_ID.fullmatch(given) else None
        writer.write(line_of, size, (time.perf_counter() - begun) * 1000, request)
    elif log.isEnabledFor(logging.INFO):
        facts = {"kind": "image", "status": 200, "cache": "hit", "path": path}
        taken = round((time.perf_counter() - begun) * 1000, 2)
        facts |= {"identifier": name, "plan": plan, "bytes": size, "ms": taken}
        line(logging.INFO, facts, {})


def remembered(path: str, identifier: str, plan: str) -> str | None:
    """The line of hits at an address, for `hit`; None where logging is not our own."""
    writer = _own.writer
    return writer.prepared(escaped(path), identifier, plan) if writer else None


def planned(plan: str) -> None:
    """What the request of this thread comes to."""
    if _here.request is not None:
        _here.request.plan = plan


def sent(size: int) -> None:
    """How many bytes somebody else sends for the request of this thread."""
    if _here.request is not None:
        _here.request.size = size


class stage:  # read as a word: `with stage("decode")`
    """Time a stage of this thread's request, without the stages within it."""

    __slots__ = ("_begun", "_name", "_outer")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._outer, _here.inside = _here.inside, 0.0
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        taken = time.perf_counter() - self._begun
        own = max(0.0, taken - _here.inside)
        _here.inside = self._outer + taken
        labelled(metrics.STAGES, self._name).observe(own)
        request = _here.request
        if request is not None:
            request.stages[self._name] = request.stages.get(self._name, 0.0) + own


def asked(ask: Callable[..., T], *arguments: Any) -> T:
    """Ask a source, and count what it says."""
    try:
        answer = ask(*arguments)
    except ProxyError as error:
        metrics.SOURCES.labels(str(error.status)).inc()
        raise
    said = getattr(answer, "modified", None)
    outcome = "new" if said is True else "unchanged" if said is False else "file"
    metrics.SOURCES.labels("missing" if answer is None else outcome).inc()
    return answer


def went_stale() -> None:
    """A stale source is served because the origin fails."""
    metrics.STALE.inc()


def not_asked() -> None:
    """A request was not sent to an origin that does not answer."""
    metrics.REFUSED.inc()


def origin_silent(silent: bool) -> None:
    """An origin stopped answering, or answers again."""
    (metrics.SILENT.inc if silent else metrics.SILENT.dec)()


class ToldGate:
    """A gate whose queue can be seen."""

    def __init__(self, gate: Gated) -> None:
        self._gate = gate

    @contextmanager
    def enter(self, cost: int, timeout: float) -> Iterator[None]:
        with ExitStack() as place:
            metrics.WAITING.inc()
            try:
                with stage("wait"):
                    place.enter_context(self._gate.enter(cost, timeout))
            finally:
                metrics.WAITING.dec()
            metrics.DECODING.inc(cost)
            place.callback(metrics.DECODING.dec, cost)
            yield


def timing(stages: dict[str, float]) -> str:
    """The value of Server-Timing."""
    return ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in stages.items())


def line(level: int, facts: dict[str, Any], stages: dict[str, float]) -> None:
    """The text is of the path as it was sent, so nobody writes a line of their own into it."""
    kept = {name: value for name, value in facts.items() if value is not None}
    if stages:
        kept["stages"] = {name: round(taken * 1000, 1) for name, taken in stages.items()}
    said = [f"{kept['kind']} {kept['status']}", kept.get("cache", ""), escaped(kept["path"])]
    said += [f"{name}={kept[name]}" for name in ("plan", "bytes", "ms", "request") if name in kept]
    said += [f"{name}={taken}" for name, taken in kept.get("stages", {}).items()]
    text = " ".join(filter(None, said))
    if _own.writer is not None:
        _own.writer.line(logging.getLevelName(level), text, kept)
    else:
        log.log(level, "%s", text, extra={"iiif": kept})


def escaped(text: str) -> str:
    """Printable ASCII without spaces: what came on the request line, which may be anything."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return "".join(c if "!" <= c <= "~" else f"\\x{ord(c):02x}" for c in text)


class JsonLines(logging.Formatter):
    """A record as one line of JSON; a request's facts are members of their own."""

    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        told = getattr(record, "iiif", None)
        if told is not None:
            facts |= told
        else:
            facts["message"] = record.getMessage()
            if _here.request is not None:
                facts["request"] = _here.request.id
        if record.exc_info:
            facts["trace"] = self.formatException(record.exc_info)
        return json.dumps(facts, default=str)


def formatter(log_format: str) -> logging.Formatter:
    if log_format == "json":
        return JsonLines()
    return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def to_stderr(level: str, log_format: str) -> None:
    """Log to standard error, unless whoever runs the process has arranged otherwise."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    _own.writer = None
    if logging.getLogger().handlers == [handler] and log.isEnabledFor(logging.INFO):
        with suppress(OSError):  # A stream that is no file.
            _own.writer = Writer(handler.stream.fileno(), log_format)
    # It warns with a trace of what we answer with 502 and log as a line.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
