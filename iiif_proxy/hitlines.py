"""The log's line of a request: that of a stored image that is answered at once for 3 us, not 30.

The logging module makes a record, formats time and text and takes a lock for each line; measured:
31 us, where the answer itself takes 14. So where the handler is our own (telling.to_stderr), all of
the line that does not change is made when the answer is remembered, and written by one system call.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

LOGGER = "iiif_proxy.requests"


@dataclass(slots=True)
class Writer:
    """Where lines go, and how: a file descriptor, `text` or `json`."""

    descriptor: int
    log_format: str
    second: tuple[int, str] = (0, "")

    def prepared(self, path: str, identifier: str, plan: str) -> str:
        """What the lines of an address have in common; `path` is printable ASCII."""
        if self.log_format == "json":
            facts = {"kind": "image", "status": 200, "cache": "hit", "path": path}
            facts |= {"identifier": identifier, "plan": plan}
            common = {"level": "info", "logger": LOGGER, **facts}
            return json.dumps(common)[1:-1]
        return f"INFO {LOGGER}: image 200 hit {path} plan={plan}"

    def line(self, level: str, text: str, facts: dict[str, Any]) -> None:
        """One that has nothing in common with others: still no record, lock or format of time."""
        now = self._now()
        if self.log_format == "json":
            common = {"time": now + "Z", "level": level.lower(), "logger": LOGGER}
            self._write(json.dumps(common | facts, default=str) + "\n")
        else:
            self._write(f"{now} {level} {LOGGER}: {text}\n")

    def write(self, prepared: str, size: int, ms: float, request: str | None) -> None:
        """`request`: its id, if it was given one; as telling.REQUEST_ID, so without quotes."""
        moment = self._now()
        if self.log_format == "json":
            more = f', "request": "{request}"' if request else ""
            line = f'{{"time": "{moment}Z", {prepared}, "bytes": {size}, "ms": {ms:.2f}{more}}}\n'
        else:
            more = f" request={request}" if request else ""
            line = f"{moment} {prepared} bytes={size} ms={ms:.2f}{more}\n"
        self._write(line)

    def _write(self, line: str) -> None:
        with suppress(OSError):  # Nobody reads the log: no reason not to answer.
            os.write(self.descriptor, line.encode("ascii", "backslashreplace"))

    def _now(self) -> str:
        now = time.time()
        return f"{self._second(int(now))}{int(now % 1 * 1000):03d}"

    def _second(self, now: int) -> str:
        """As the formatters of telling write it, up to the milliseconds."""
        known, text = self.second
        if known != now:
            if self.log_format == "json":
                text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(now))
            else:
                text = time.strftime("%Y-%m-%d %H:%M:%S,", time.localtime(now))
            self.second = now, text
        return text
