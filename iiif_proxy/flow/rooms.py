"""The services below `/-/auth`: probe, access, kiosk, token, logout."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from iiif_proxy.access.auth import ACTIVE, KIOSK, NAME, Auth
from iiif_proxy.access.callers import STRANGER, Caller
from iiif_proxy.access.policy import PUBLIC
from iiif_proxy.access.regime import Regime
from iiif_proxy.access.tickets import COOKIE, TOKEN
from iiif_proxy.errors import (
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ProxyError,
)
from iiif_proxy.flow import pages, services
from iiif_proxy.flow.flow import Flow
from iiif_proxy.iiif import urls
from iiif_proxy.iiif.model import Box
from iiif_proxy.iiif.params import largest
from iiif_proxy.web import answers
from iiif_proxy.web.headers import NOSNIFF, Headers

if TYPE_CHECKING:
    from iiif_proxy.service import ImageService
    from iiif_proxy.web.peers import Peers

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
LONGEST = 2000
NO_STORE = ("Cache-Control", "no-store")


class Rooms:
    """Answers below `/-/auth/`; 404 without an [auth] table in the policy."""

    def __init__(
        self,
        flow: Flow,
        service: "ImageService",
        peers: "Peers",
        prefix: str,
    ) -> None:
        self._flow = flow
        self._service = service
        self._peers = peers
        self._prefix = prefix

    def answer(self, rest: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        regime = self._flow.regime()
        if regime is None or regime.auth is None:
            raise NotFound("There is no login here.")
        name, _, more = rest.partition("/")
        if name == "probe" and more:
            return self._probe(regime.auth, more, environ, start_response)
        if rest == "token":
            return self._token(regime, regime.auth, 2, environ, start_response)
        if rest == "1/token":
            return self._token(regime, regime.auth, 1, environ, start_response)
        room = {
            "access": self._access,
            "kiosk": self._kiosk,
            "done": self._done,
            "logout": self._logout,
        }.get(rest)
        if room is None:
            raise NotFound("There is no such page here.")
        return room(regime, regime.auth, environ, start_response)

    # Section 5

    def _probe(
        self, auth: Auth, raw: str, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        identifier = urls.identifier(raw)
        status, note, instead = 200, None, None
        try:
            status, note, instead = self._looked_at(auth, identifier, environ)
        except ProxyError as error:
            status, note = error.status, error.public
        content = services.probe_result(status, auth, note, instead)
        fields: Headers = [
            ("Content-Type", "application/json"),
            NO_STORE,
            ("Vary", "Authorization, Cookie, Origin"),
        ]
        return answers.document(environ, start_response, content, fields)

    def _looked_at(
        self, auth: Auth, identifier: str, environ: Environ
    ) -> tuple[int, str | None, dict[str, Any] | None]:
        """Status, why, and what there is instead. Raises ProxyError."""
        found = self._flow.described(identifier, environ)
        _, info = self._service.info(found.identifier, environ)
        if found.open:
            return 200, None, None
        known = self._flow.bearer(environ) or self._caller(environ)
        # Who is known and may not gets nothing by logging in.
        status = 403 if known.one == auth.one else 401
        if found.reduced is None:
            return status, None, None
        _, grant = self._flow.asked(found.reduced, environ)
        size = largest(Box(0, 0, info.width, info.height), grant.limits, False)
        base = f"{self._peers.base(environ)}{self._prefix}/3/{urls.encode(found.reduced)}"
        return status, None, services.substitute(base, size)

    def _caller(self, environ: Environ) -> Caller:
        regime = self._flow.regime()
        try:
            return regime.callers.find(environ) if regime else STRANGER
        except NotAuthenticated:
            return STRANGER

    # Section 4

    def _token(
        self,
        regime: Regime,
        auth: Auth,
        version: int,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        given = parse_qs(environ.get("QUERY_STRING", ""))
        message = given.get("messageId", [""])[0][:LONGEST]
        asked = given.get("origin", [""])[0]
        origin = pages.origin_of(asked)
        if version == 1 and not message:
            return self._bare(regime, auth, origin or "", environ, start_response)
        if origin is None:
            # To nobody: there is no window that a message could be for.
            raise InvalidRequest("The origin of the viewer is missing, or is none.")
        error: str | None = None
        if not message:
            error = "invalidRequest"
        elif auth.origins is not None and origin not in auth.origins:
            error = "invalidOrigin"
        text = ""
        if error is None:
            text, error = self._made(regime, auth, origin, environ)
        if error is None:
            content = services.token(text, auth.token, message, version)
        else:
            content = services.token_error(error, auth, message, version)
        body, fields = pages.message(content, origin)
        return pages.sent("200 OK", body, fields, environ, start_response)

    def _bare(
        self,
        regime: Regime,
        auth: Auth,
        origin: str,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """1.0, 2.2.3: JSON for what is no browser. Scripts of other sites must not read it, so it
        has no Access-Control-Allow-Origin."""
        text, error = self._made(regime, auth, origin, environ)
        status = "200 OK"
        if error is None:
            content = services.token(text, auth.token, "", 1)
        else:
            number = services.ERRORS[error][1]
            status = {401: "401 Unauthorized", 503: "503 Service Unavailable"}[number]
            content = services.token_error(error, auth, "", 1)
        body = pages.literal(content).encode()
        fields = [("Content-Type", "application/json"), NO_STORE, NOSNIFF]
        return pages.sent(status, body, fields, environ, start_response)

    def _made(
        self, regime: Regime, auth: Auth, origin: str, environ: Environ
    ) -> tuple[str, str | None]:
        """A token for who asks, or one of the errors."""
        try:
            caller = regime.callers.find(environ)
        except NotAuthenticated:
            return "", "invalidAspect"
        except ProxyError:
            return "", "unavailable"
        if caller.one == PUBLIC:
            return "", "missingAspect"
        return auth.tickets.made(TOKEN, caller.one, origin, auth.token), None

    # Section 3

    def _access(
        self, regime: Regime, auth: Auth, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """To the login page; nowhere if that has been done. `origin` is not gone to, ever."""
        if ACTIVE not in auth.profiles or auth.login is None:
            raise NotFound("There is no login page here.")
        if self._caller(environ).one != PUBLIC:
            return self._done(regime, auth, environ, start_response)
        return self._away(auth.login, "done", environ, start_response)

    def _kiosk(
        self, regime: Regime, auth: Auth, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """A cookie for the devices of the networks that are named."""
        if KIOSK not in auth.profiles:
            raise NotFound("There is no such page here.")
        if not auth.knows(self._peers.client(environ)):
            raise NotAllowed("This device is not one of those that have access.")
        text = auth.tickets.made(COOKIE, auth.one, "", auth.cookie)
        body, fields = pages.closing("This device has access", self._static(environ))
        fields.append(self._cookie(text, int(auth.cookie), environ))
        return pages.sent("200 OK", body, fields, environ, start_response)

    def _done(
        self, regime: Regime, auth: Auth, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        known = self._caller(environ).one != PUBLIC
        title = "You are logged in" if known else "You are not logged in"
        body, fields = pages.closing(title, self._static(environ))
        return pages.sent("200 OK", body, fields, environ, start_response)

    # Section 6

    def _logout(
        self, regime: Regime, auth: Auth, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        forget = self._cookie("", 0, environ)
        if auth.logout is not None and "done" not in parse_qs(environ.get("QUERY_STRING", "")):
            return self._away(auth.logout, "logout?done=1", environ, start_response, forget)
        body, fields = pages.closing("You are logged out", self._static(environ))
        return pages.sent("200 OK", body, [*fields, forget], environ, start_response)

    # What they share

    def _own(self, environ: Environ) -> str:
        return f"{self._peers.base(environ)}{self._prefix}/-"

    def _static(self, environ: Environ) -> str:
        return f"{self._own(environ)}/static"

    def _away(
        self,
        address: str,
        back: str,
        environ: Environ,
        start_response: StartResponse,
        *more: tuple[str, str],
    ) -> Iterable[bytes]:
        """302 to a page that the policy names, with where to come back to."""
        here = f"{self._own(environ)}/auth/{back}"
        if address.startswith("/"):
            # The way back as a path too: login pages are right to go nowhere else. And the way
            # there, so that it does not go by what a request says its host is.
            parts = urlsplit(here)
            here = parts._replace(scheme="", netloc="").geturl()
        location = address.replace("{return}", quote(here, safe=""))
        fields: Headers = [NO_STORE, ("Referrer-Policy", "no-referrer"), *more]
        return answers.found(location, fields, environ, start_response)

    def _cookie(self, text: str, seconds: int, environ: Environ) -> tuple[str, str]:
        """None but servers read it. Viewers of other sites need SameSite=None, which browsers take
        over https only."""
        secure = self._peers.base(environ).startswith("https:")
        rest = "; SameSite=None; Secure" if secure else "; SameSite=Lax"
        return "Set-Cookie", f"{NAME}={text}; Path=/; Max-Age={seconds}; HttpOnly{rest}"
