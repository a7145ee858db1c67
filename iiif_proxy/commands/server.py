"""gunicorn with threads, set up for this application."""

import gc
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from prometheus_client.multiprocess import mark_process_dead

from iiif_proxy.proxy import IIIFProxy
from iiif_proxy.settings import Settings
from iiif_proxy.telling import formatter
from iiif_proxy.wiring import workers_of


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines in the form of ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(formatter("json"))


class Server(BaseApplication):  # type: ignore[misc]
    """Runs until it is told to end, and leaves by SystemExit."""

    def __init__(self, bind: str, settings: Settings) -> None:
        self.bind, self.settings = bind, settings
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": self.bind,
            "worker_class": "iiif_proxy.commands.worker.Worker",
            "workers": workers_of(self.settings),
            "threads": self.settings.threads,
            "keepalive": 75,
            "graceful_timeout": 30,
            "proc_name": "iiif-proxy",
            # Who may be believed is decided by IIIF_PROXY_TRUSTED_PROXIES alone.
            "forwarded_allow_ips": "",
            "loglevel": self.settings.log_level,
            # As long as gunicorn can: identifiers and the origin's queries may be.
            "limit_request_line": 8190,
            # Nothing of ours in the user's home directory (gunicorn 25 and newer).
            "control_socket_disable": True,
            "child_exit": child_exit,
            "when_ready": when_ready,
            "pre_fork": pre_fork,
        }
        if self.settings.log_format == "json":
            options["logger_class"] = JsonLogger
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return IIIFProxy()


def when_ready(server: Any) -> None:
    """Before the first worker is forked: what is loaded is shared by all processes as long as
    nobody writes to it. Two workers take 55 MB together, 80 where each looks for garbage in it."""
    gc.collect()
    gc.freeze()


def pre_fork(server: Any, worker: Any) -> None:
    worker.seat = worker.seats.free({other.seat for other in server.WORKERS.values()})


def child_exit(server: Any, worker: Any) -> None:
    """What a dead worker was doing is not being done any more."""
    worker.seats.leave(worker.seat)
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
