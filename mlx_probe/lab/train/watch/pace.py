"""The share of the machine that a background process takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

__all__ = ["Pace", "cpu_seconds"]

# CPU seconds that an idle process saves up at most: after a long wait it may go on at once, but
# not for long.
_SAVED = 0.5

# CPU seconds: a debt that is not worth another sleep, and that rounding may leave.
_PAID = 1e-6


def cpu_seconds() -> float:
    """CPU time of this process, of all its threads, and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Pace:
    """Keeps a process to a share of the machine, on average, by waiting.

    Time allows `cores` CPU seconds a second. What is used beyond that is a debt: `wait` returns
    when it is paid. Work between two calls is not interrupted, so that the share holds on
    average and not at every moment.

    Args:
        cores: Cores that the process may keep busy on average, above 0; infinity for no limit.
        used: CPU seconds so far.
        clock: Seconds.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        cores: float,
        used: Callable[[], float] = cpu_seconds,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cores, self._used, self._clock, self._sleep = cores, used, clock, sleep
        # From nothing: starting Python and importing the engine is paid for like the rest.
        self._at, self._spent, self._credit = clock(), 0.0, 0.0

    def wait(self, ahead: float = 0.0) -> None:
        """Wait until what has been used is within the share.

        Args:
            ahead: CPU seconds that are going to be used at once, and are waited for as well.
        """
        if math.isinf(self._cores):
            return
        while (debt := ahead - self._account(max(ahead, _SAVED))) > _PAID:
            self._sleep(debt / self._cores)

    def _account(self, most: float) -> float:
        """CPU seconds that may be used now, at most so many; negative for a debt."""
        now, spent = self._clock(), self._used()
        earned = self._cores * (now - self._at)
        self._credit = min(self._credit + earned - (spent - self._spent), most)
        self._at, self._spent = now, spent
        return self._credit
