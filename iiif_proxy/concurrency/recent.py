"""How long things took lately, and the 503 that follows from it."""

import math

from iiif_proxy.errors import Busy


class Recent:
    """The mean of recent durations and costs: what honest promises are made of.

    Not locked: a lost update moves an estimate by a fifth once.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cost = 0.0

    def add(self, seconds: float, cost: float = 1.0) -> None:
        weight = 0.2 if self.cost else 1.0
        self.seconds += weight * (seconds - self.seconds)
        self.cost += weight * (cost - self.cost)


def busy(seconds: float) -> Busy:
    """503 with when to come again, in whole seconds from 1 to 120."""
    after = min(120, max(1, math.ceil(seconds)))
    return Busy("Too much is asked for at once.", headers={"Retry-After": str(after)})
