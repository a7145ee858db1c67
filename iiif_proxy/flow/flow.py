"""What the flow makes of requests: who is meant by a token, and what info.json then is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from iiif_proxy.access.auth import Auth
from iiif_proxy.access.callers import STRANGER, Caller
from iiif_proxy.access.control import Access
from iiif_proxy.access.grant import Grant
from iiif_proxy.access.regime import Regime
from iiif_proxy.access.tickets import TOKEN, Expired, is_ticket
from iiif_proxy.errors import NotAllowed, NotAuthenticated
from iiif_proxy.flow import services
from iiif_proxy.flow.pages import origin_of
from iiif_proxy.iiif.model import Extras, Limits
from iiif_proxy.iiif.tiles import bounds
from iiif_proxy.iiif.urls import encode

Environ = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """What info.json is about: `identifier` is that of the source, `grant` whose truth it tells.

    `auth`: the image is access-controlled; `open`: not for who asks. `reduced`: the identifier
    under which everybody gets what strangers may have, None where that is nothing.
    """

    identifier: str
    grant: Grant
    auth: Auth | None = None
    open: bool = True
    reduced: str | None = None


class Flow:
    """`regime` is the policy in force, None where there is none."""

    def __init__(self, regime: Callable[[], Regime | None], access: Access) -> None:
        self.regime = regime
        self._access = access

    @property
    def auth(self) -> Auth | None:
        regime = self.regime()
        return regime.auth if regime else None

    def asked(self, identifier: str, environ: Environ) -> tuple[str, Grant]:
        """The source's identifier and what may be done with it. Raises as Access.grant does."""
        auth = self.auth
        if auth is not None and (name := _without(identifier, auth.reduced)):
            grant = self._access.grant(name, environ, STRANGER)
            # Alike for everybody, whoever asks.
            if grant.others is not None:
                grant = replace(grant, alike=True, others=((grant.rules, grant.limits),))
            return name, grant
        return identifier, self._access.grant(identifier, environ)

    def described(self, identifier: str, environ: Environ) -> Described:
        """Raises as Access.grant does for what no login opens."""
        auth = self.auth
        if auth is None or _without(identifier, auth.reduced):
            name, grant = self.asked(identifier, environ)
            return Described(name, grant)
        wanted = self._granted(identifier, environ, Caller(auth.one))
        public = self._granted(identifier, environ, STRANGER)
        if wanted is None or (public is not None and covers(public, wanted)):
            return Described(identifier, self._access.grant(identifier, environ))
        reduced = None if public is None else identifier + auth.reduced
        own = self._own(identifier, environ)
        if own is not None and covers(own, wanted):
            return Described(identifier, own, auth, True, reduced)
        return Described(identifier, wanted, auth, False, reduced)

    def _own(self, identifier: str, environ: Environ) -> Grant | None:
        caller = self.bearer(environ)
        return self._granted(identifier, environ, caller)

    def _granted(self, identifier: str, environ: Environ, caller: Caller | None) -> Grant | None:
        try:
            return self._access.grant(identifier, environ, caller)
        except (NotAllowed, NotAuthenticated):
            return None

    def bearer(self, environ: Environ) -> Caller | None:
        """Whom an access token of ours stands for: STRANGER if it is good no more, or was given to
        another site; None where there is no such token, and the request speaks for itself."""
        regime = self.regime()
        scheme, _, text = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if regime is None or regime.auth is None:
            return None
        if scheme.lower() != "bearer" or not is_ticket(text.strip()):
            return None
        # Scripts of other sites cannot leave Origin out; who can may write whatever they like.
        bound = None
        if "HTTP_ORIGIN" in environ:
            bound = origin_of(environ["HTTP_ORIGIN"]) or ""
        try:
            one = regime.auth.tickets.read(text.strip(), TOKEN, bound, regime.policy.classes)
        except Expired:
            one = None
        return Caller(one, "", True) if one else STRANGER


def covers(own: Grant, wanted: Grant) -> bool:
    """Whether a viewer gets no less by one than by the other: sizes, and parts of the image."""
    less = own.rules.read == "existing" and wanted.rules.read != "existing"
    return (
        not less
        and above(own.limits, wanted.limits)
        and (own.scope.tiles or not wanted.scope.tiles)
    )


def above(one: Limits, other: Limits) -> bool:
    pairs = zip(bounds(one), bounds(other), strict=True)
    return all(mine is None or (its is not None and mine >= its) for mine, its in pairs)


def _without(identifier: str, end: str) -> str:
    """An identifier without its end; "" where it has another."""
    return identifier.removesuffix(end) if identifier.endswith(end) else ""


def with_services(extras: Extras, found: Described, own: str, version: int) -> Extras:
    """What info.json says of the login. 3.0 has the services of both versions, 2.1 those of 1.0:
    its viewers know no other. `own` is the public address of `/-`."""
    if found.auth is None:
        return extras
    places = services.Places(f"{own}/auth")
    added = services.services_1(found.auth, places)
    context = extras.context
    if version > 2:
        encoded = encode(found.identifier)
        added = [services.probe(found.auth, places, encoded), *added]
        context = (services.CONTEXT, *context)
    given = extras.service
    before = given if isinstance(given, list) else [] if given is None else [given]
    return replace(extras, service=[*before, *added], context=context)
