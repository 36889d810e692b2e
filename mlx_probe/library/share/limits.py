"""Limits for each guest and address: how many requests, and how many connections at a time."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

__all__ = ["Connections", "RateLimit", "network"]

# Guests and addresses that are remembered.
_MOST = 4096


def network(address: str) -> str:
    """What counts as one address: a home has 2^64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)


class RateLimit:
    """A token bucket for each key: full at first, it fills again evenly.

    Args:
        per_minute: Requests that a bucket gains in a minute, and that it holds.
        clock: Seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._clock = float(per_minute), clock
        self._rate = per_minute / 60
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str) -> int:
        """Take one request from a bucket.

        Returns:
            0, or whole seconds after which to try again.
        """
        now = self._clock()
        with self._lock:
            level, at = self._buckets.pop(key, (self._size, now))
            level = min(self._size, level + (now - at) * self._rate)
            allowed = level >= 1
            self._buckets[key] = (level - 1 if allowed else level, now)
            # The longest unused one is the fullest; forgotten, it is full.
            if len(self._buckets) > _MOST:
                self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - level) / self._rate))


class Connections:
    """Connections at a time.

    Args:
        most: Of all.
        of_one: Of one address.
    """

    def __init__(self, most: int, of_one: int) -> None:
        self._most, self._of_one = most, of_one
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, key: str) -> bool:
        """Count a connection; False if there are too many, and it does not count."""
        with self._lock:
            if self._open.total() >= self._most or self._open[key] >= self._of_one:
                return False
            self._open[key] += 1
            return True

    def leave(self, key: str) -> None:
        """Count a connection no longer."""
        with self._lock:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
