"""What one caller may do with one image, and who else may see the answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from iiif_proxy.access.callers import STRANGER, Caller
from iiif_proxy.access.decision import forbid
from iiif_proxy.access.policy import Rules
from iiif_proxy.errors import ProxyError
from iiif_proxy.iiif.model import EVERYTHING, Features, ImageInfo, Limits, Plan, Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """`limits`, `features` and `scope` are the caller's own: plans and info.json are made by them.

    `alike`: info.json is the same for everybody, and open to strangers. `others`: rules and limits
    of all classes, None where strangers may not read; `vary`: what the answers go by, if anything.
    `tier` names the class and the policy, for what is remembered of answers; None: nothing is.
    """

    caller: Caller
    rules: Rules
    limits: Limits
    features: Features
    scope: Scope = EVERYTHING
    alike: bool = True
    others: tuple[tuple[Rules, Limits], ...] | None = ()
    vary: str = ""
    tier: str | None = None
    # Seconds that a visitor may keep an answer for itself.
    seconds: float = math.inf
    # The mark of what is made for the caller, None for what stays.
    owner: str | None = None

    def shared(self, plan: Plan, info: ImageInfo, same: Callable[[Limits], Plan]) -> bool:
        """Whether caches may give this answer to everybody: strangers may have it, and the same
        request means the same for all who may have anything. `same` resolves it under limits."""
        if self.others is None:
            return False
        try:
            for rules, limits in self.others:
                if limits != self.limits and same(limits) != plan:
                    return False
                if rules.read != "nothing":
                    forbid(rules, plan, info)
        except ProxyError:
            return False
        return True


def everything(limits: Limits, features: Features) -> Grant:
    """Without a policy."""
    return Grant(STRANGER, Rules(), limits, features)
