"""How many visitors each worker has, for all of them to see."""

import mmap

# So many workers share their visitors; this is the seat of one who does not.
NO_SEAT = 256
# As many visitors as nobody has.
NOBODY = (1 << 31) - 1


class Seats:
    """A number for each worker, in memory that they share: made before the first is forked.

    The kernel wakes all workers for a new visitor, and the same one mostly comes first: of four
    visitors it got all, or three of four, while Python runs one thread at a time in it.
    """

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * NO_SEAT)).cast("i")
        for seat in range(NO_SEAT):
            self.leave(seat)

    def free(self, taken: set[int]) -> int:
        """One for the next worker."""
        return next((seat for seat in range(NO_SEAT) if seat not in taken), NO_SEAT)

    def tell(self, seat: int, visitors: int) -> None:
        if seat < NO_SEAT:
            self._counts[seat] = visitors

    def leave(self, seat: int) -> None:
        """It takes no more visitors."""
        self.tell(seat, NOBODY)

    def fewer(self, visitors: int) -> bool:
        """Whether some worker has fewer."""
        return min(self._counts) < visitors
