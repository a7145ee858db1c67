"""What can go wrong, as seen from outside: the class is the status, the text one sentence."""

import errno
from typing import ClassVar

# What the machine runs out of, and has again a moment later.
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ProxyError(Exception):
    """One public outcome.

    `public` is one sentence for the client and never holds a path, an address of the inside or a
    trace; `cause` is for the log only; `headers` go out with the answer.
    """

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "Internal Server Error"

    def __init__(
        self,
        public: str,
        cause: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(public if cause is None else f"{public} [{cause}]")
        self.public = public
        self.cause = cause
        self.headers = headers or {}


class InvalidRequest(ProxyError):
    """A parameter that the version's grammar or the image does not allow."""

    status = 400
    reason = "Bad Request"


class NotAuthenticated(ProxyError):
    """Who asks must say who they are."""

    status = 401
    reason = "Unauthorized"


class NotAllowed(ProxyError):
    """Who asks may not."""

    status = 403
    reason = "Forbidden"


class NotFound(ProxyError):
    """No source has the identifier."""

    status = 404
    reason = "Not Found"


class MethodNotAllowed(ProxyError):
    """Another method than GET, HEAD or OPTIONS on an IIIF path."""

    status = 405
    reason = "Method Not Allowed"


class TooManyRequests(ProxyError):
    """A rate limit; `headers` carries Retry-After."""

    status = 429
    reason = "Too Many Requests"


class NotSupported(ProxyError):
    """What the specification knows and this installation cannot do."""

    status = 501
    reason = "Not Implemented"


class OriginFailed(ProxyError):
    """The origin failed, or what it sent is no image that can be decoded or is refused."""

    status = 502
    reason = "Bad Gateway"


class NoImage(OriginFailed):
    """What the origin sent cannot be decoded: it is not to be kept."""


class Busy(ProxyError):
    """Too much at once; `headers` carries Retry-After."""

    status = 503
    reason = "Service Unavailable"


class Undecided(ProxyError):
    """What says who asks, or whether that may be, does not answer: never an open door."""

    status = 503
    reason = "Service Unavailable"


class OriginTimeout(ProxyError):
    """The origin did not answer in time."""

    status = 504
    reason = "Gateway Timeout"


class SourceChanged(Exception):
    """Never seen outside: the bytes that belong to a record are gone, the origin has others now."""


def for_want(error: BaseException) -> Busy | None:
    """503 if something failed because the machine has no descriptors or memory left just now: no
    fault of an origin, an image or a request, and not to be taken for one."""
    seen: BaseException | None = error
    for _ in range(8):
        if isinstance(seen, OSError) and seen.errno in SCARCE:
            return Busy("Too much is going on at once.", str(seen.strerror), {"Retry-After": "5"})
        seen = seen and (seen.__cause__ or seen.__context__)
    return None
