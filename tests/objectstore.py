"""A real S3 server for tests: SeaweedFS, on loopback.

with ObjectStore() as objects:
    with objects.environ(): ...
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

KINDS = ("master", "volume", "filer", "s3")
WEED = Path(sys.executable).with_name("weed")


class ObjectStore:
    """Ready when entered; nothing is left of it afterwards. Buckets are made by the first put."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._ports = free_ports(2 * len(KINDS))
        self.endpoint = f"http://127.0.0.1:{self._ports[6]}"
        self.variables = {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "secret of tests",
        }
        who = {
            "name": "tests",
            "credentials": [{"accessKey": "tests", "secretKey": "secret of tests"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (self._folder / "s3.json").write_text(json.dumps({"identities": [who]}))

    def start(self) -> None:
        ports = iter(self._ports)
        options = [f"-{kind}.port{grpc}={next(ports)}" for kind in KINDS for grpc in ("", ".grpc")]
        # Its election would take 17 s after a kill; so it takes three.
        options += ["-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    WEED, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                    f"-dir={self._folder}", "-filer", "-s3", f"-s3.config={self._folder}/s3.json",
                    "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                    "-master.volumeSizeLimitMB=64", "-volume.max=40", *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )  # fmt: skip
        self._await()

    def _await(self) -> None:
        """Until it takes an object: it listens before it can."""
        from obstore import put
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, BaseError):
                if requests.get(self.endpoint, timeout=5).status_code < 500:
                    with self.environ():
                        store = from_url(
                            "s3://ready",
                            client_options={"allow_http": True},
                            retry_config={"max_retries": 0},
                        )
                    put(store, "ready", b"ready")
                    return
            time.sleep(0.05)
        raise RuntimeError((self._folder / "log").read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def environ(self) -> Iterator[None]:
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        listeners = [
            held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [listener.getsockname()[1] for listener in listeners]
