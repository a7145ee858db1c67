"""Access as the proxy asks for it: a grant before anything is looked up, leave before a making."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from iiif_proxy.access.asking import VARY, Asking, Look
from iiif_proxy.access.callers import STRANGER, Caller
from iiif_proxy.access.decision import (
    Verdict,
    decide,
    features_for,
    limits_for,
    scope_for,
    stored_scope,
)
from iiif_proxy.access.grant import Grant, everything
from iiif_proxy.access.policy import PUBLIC, Rules
from iiif_proxy.access.regime import Regime
from iiif_proxy.access.watch import Watch
from iiif_proxy.errors import NotAllowed, NotAuthenticated, ProxyError
from iiif_proxy.iiif.model import Features, ImageInfo, Limits, Plan, Scope
from iiif_proxy.iiif.presets import Presets

if TYPE_CHECKING:
    from iiif_proxy.access.throttle import Throttle

Environ = dict[str, Any]


class Access(Protocol):
    """Who may what. `controlled`: there is anything to decide."""

    controlled: bool

    def grant(self, identifier: str, environ: Environ, caller: Caller | None = None) -> Grant:
        """Before any cache is looked at; of somebody else than who asks, if `caller` is given.

        Raises NotAuthenticated, NotAllowed, Undecided.
        """

    def scope(self, grant: Grant, info: ImageInfo, has: Callable[[Plan], bool]) -> Scope:
        """What info.json declares; `has`: whether a plan is stored."""

    def may(self, grant: Grant, plan: Plan, info: ImageInfo, exists: Callable[[], bool]) -> Verdict:
        """What may happen to a request. Raises NotAllowed."""

    def admit(
        self,
        grant: Grant,
        plan: Plan,
        info: ImageInfo,
        exists: Callable[[], bool],
        environ: Environ,
    ) -> Verdict:
        """The same, before it happens: what is made counts. Raises TooManyRequests too, and
        Undecided where that cannot be counted."""

    def tier(self, environ: Environ) -> str | None:
        """What answers that are remembered go by; None: the caller's are not remembered."""

    def is_open(self, identifier: str) -> bool:
        """Whether strangers may see an image."""

    def health(self) -> str | None:
        """What is wrong with the policy file."""


class Open:
    """Without a policy everybody may everything."""

    controlled = False

    def __init__(self, limits: Limits, features: Features) -> None:
        self._grant = everything(limits, features)

    def grant(self, identifier: str, environ: Environ, caller: Caller | None = None) -> Grant:
        return self._grant

    def scope(self, grant: Grant, info: ImageInfo, has: Callable[[Plan], bool]) -> Scope:
        return grant.scope

    def may(self, grant: Grant, plan: Plan, info: ImageInfo, exists: Callable[[], bool]) -> Verdict:
        return Verdict.MAKE

    def admit(
        self,
        grant: Grant,
        plan: Plan,
        info: ImageInfo,
        exists: Callable[[], bool],
        environ: Environ,
    ) -> Verdict:
        return Verdict.MAKE

    def tier(self, environ: Environ) -> str | None:
        return None

    def is_open(self, identifier: str) -> bool:
        return True

    def health(self) -> str | None:
        return None


class Control:
    """By a policy. `name_of` takes the page off an identifier: rules are for the source."""

    controlled = True

    def __init__(
        self,
        watch: Watch,
        limits: Limits,
        features: Features,
        name_of: Callable[[str], str],
        presets: Callable[[], Presets],
        throttle: "Throttle",
        look: Look,
    ) -> None:
        self._watch = watch
        self._current = watch.current
        self._limits = limits
        self._features = features
        self._name_of = name_of
        self._presets = presets
        self._throttle = throttle
        self._look = look
        self._asking: tuple[Regime, Asking] | None = None

    def tier(self, environ: Environ) -> str | None:
        regime = self._current()
        try:
            caller = regime.callers.find(environ)
        except ProxyError:
            return None
        return tier_of(regime, caller)

    def grant(self, identifier: str, environ: Environ, caller: Caller | None = None) -> Grant:
        regime = self._current()
        caller = caller or self._caller(regime, environ)
        rules = regime.policy.rules(self._name_of(identifier))
        if rules is None:
            raise NotAllowed("The identifier must be written as its publisher writes it.")
        own = rules[caller.one]
        if own.read == "nothing":
            raise self._refusal(regime, caller)
        asking = self._asks(regime) if own.origin else None
        if asking is not None:
            asking.ask(self._name_of(identifier), environ)
        limits = limits_for(own, self._limits)
        public = rules[PUBLIC]
        found = rules.values() if regime.callers.some else (public,)
        readable = [one for one in found if one.read != "nothing"]
        shown = [self._shown(one) for one in readable]
        strangers = public.read != "nothing" and not public.origin and not own.origin
        alike = strangers and all(one == shown[0] for one in shown)
        others = tuple((one, limits_for(one, self._limits)) for one in readable)
        return Grant(
            caller,
            own,
            limits,
            features_for(own, self._features),
            scope_for(own),
            alike,
            others if strangers else None,
            _joined(VARY if asking else "", regime.callers.vary),
            None if asking else tier_of(regime, caller),
            asking.seconds if asking else math.inf,
            mark_of(regime, caller, own),
        )

    def _asks(self, regime: Regime) -> Asking:
        """One for each policy: another may have been written to end what was remembered."""
        if self._asking is None or self._asking[0] is not regime:
            self._asking = regime, Asking(self._look, regime.method, regime.remember)
        return self._asking[1]

    def _shown(self, rules: Rules) -> tuple[object, ...]:
        return (
            limits_for(rules, self._limits),
            features_for(rules, self._features),
            scope_for(rules),
        )

    def scope(self, grant: Grant, info: ImageInfo, has: Callable[[Plan], bool]) -> Scope:
        if grant.scope.listed is None:
            return grant.scope
        named = self._presets().plans(info, grant.limits, self._features).values()
        return stored_scope(grant.rules, info, grant.limits, grant.features, has, named)

    def may(self, grant: Grant, plan: Plan, info: ImageInfo, exists: Callable[[], bool]) -> Verdict:
        named = self._presets().plans(info, grant.limits, self._features).values()
        return decide(grant.rules, plan, info, grant.limits, grant.features, exists(), named)

    def admit(
        self,
        grant: Grant,
        plan: Plan,
        info: ImageInfo,
        exists: Callable[[], bool],
        environ: Environ,
    ) -> Verdict:
        verdict = self.may(grant, plan, info, exists)
        if verdict is not Verdict.STORED:
            self._throttle.take(grant.rules, grant.caller, environ)
        return verdict

    def is_open(self, identifier: str) -> bool:
        rules = self._current().policy.rules(self._name_of(identifier))
        return rules is not None and rules[PUBLIC].read != "nothing" and not rules[PUBLIC].origin

    def health(self) -> str | None:
        self._current()
        return self._watch.fault

    def _caller(self, regime: Regime, environ: Environ) -> Caller:
        try:
            return regime.callers.find(environ)
        except NotAuthenticated as error:
            if regime.challenge:
                error.headers.setdefault("WWW-Authenticate", regime.challenge)
            raise

    def _refusal(self, regime: Regime, caller: Caller) -> ProxyError:
        if caller == STRANGER and regime.challenge:
            headers = {"WWW-Authenticate": regime.challenge}
            return NotAuthenticated("This image is not open to strangers.", headers=headers)
        return NotAllowed("This image is not open to you.")


def _joined(*names: str) -> str:
    """Names of fields, each once."""
    found = (one.strip() for text in names for one in text.split(","))
    return ", ".join(dict.fromkeys(filter(None, found)))


def mark_of(regime: Regime, caller: Caller, rules: Rules) -> str | None:
    """Of the class, so that a change of the policy counts; with its own time where that differs."""
    if rules.retention is None:
        return None
    same = regime.policy.classes[caller.one].retention == rules.retention
    return caller.one if same else f"{caller.one} {rules.retention:g}"


def tier_of(regime: Regime, caller: Caller) -> str:
    return f"{caller.one} {regime.policy.digest}"
