"""What simulated tasks share: servers that divide their time, queues before one, semaphores.

All of them work on one clock that their caller keeps. Whatever ends at a moment calls back.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import inf

__all__ = ["Line", "Semaphore", "Shared"]

Call = Callable[[], None]


@dataclass
class _Work:
    """Something under way.

    Attributes:
        end: The server's own clock when it will be done.
        done: Called then.
        width: Servers that it occupies.
        pace: How fast it goes, beside one server.
        lent: What each server beyond the first adds.
        key: By which `Shared.widen` knows it.
        version: Raised when `end` changes.
    """

    end: float
    done: Call
    width: int
    pace: float
    lent: float
    key: Hashable = None
    version: int = 0


class Shared:
    """Servers that all work under way shares evenly.

    Args:
        servers: Their number.
        together: Speed of a server when all are busy, of that of one alone.
    """

    def __init__(self, servers: int, together: float = 1.0) -> None:
        self._servers, self._together = servers, together
        self._under_way: dict[int, _Work] = {}
        self._of: dict[Hashable, int] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._number = 0
        self._width = 0
        # The servers' own clock shows the work that one of width and pace 1 has been given.
        self._clock = self._at = self._speed = self._occupied = 0.0
        self.next = inf

    def add(
        self,
        now: float,
        amount: float,
        done: Call,
        width: int = 1,
        lent: float = 1.0,
        key: Hashable = None,
    ) -> None:
        """Begin some work.

        Args:
            now: The time.
            amount: Seconds of one server that has nothing else to do.
            done: Called at its end.
            width: Servers that it may use at once.
            lent: What each server beyond the first adds to its speed.
            key: By which `widen` knows it.
        """
        self._advance(now)
        number, self._number = self._number, self._number + 1
        pace = 1 + (width - 1) * lent
        work = _Work(self._clock + amount / pace, done, width, pace, lent, key)
        self._under_way[number] = work
        if key is not None:
            self._of[key] = number
        self._width += width
        heapq.heappush(self._heap, (work.end, number, 0))
        self._renew()

    def widen(self, now: float, widths: Mapping[int, int]) -> None:
        """Change the servers that some work may use; unknown keys do not matter."""
        changed = [
            (self._under_way[self._of[key]], self._of[key], width)
            for key, width in widths.items()
            if key in self._of and self._under_way[self._of[key]].width != width
        ]
        if not changed:
            return
        self._advance(now)
        for work, number, width in changed:
            pace = 1 + (width - 1) * work.lent
            work.end = self._clock + (work.end - self._clock) * work.pace / pace
            self._width += width - work.width
            work.width, work.pace, work.version = width, pace, work.version + 1
            heapq.heappush(self._heap, (work.end, number, work.version))
        self._renew()

    def finish(self, now: float) -> Call:
        """End what is due now, at `next`; return what it calls."""
        self._advance(now)
        _, number, _ = heapq.heappop(self._heap)
        work = self._under_way.pop(number)
        self._of.pop(work.key, None)
        self._width -= work.width
        self._renew()
        return work.done

    @property
    def time(self) -> float:
        """When anything here changed last."""
        return self._at

    def occupied(self, now: float) -> float:
        """Seconds of servers in use until now."""
        self._advance(now)
        return self._occupied

    def _advance(self, now: float) -> None:
        passed, self._at = now - self._at, now
        self._clock += passed * self._speed
        self._occupied += passed * min(self._width, self._servers)

    def _renew(self) -> None:
        """Speed and next end, after a change."""
        busy = min(self._width, self._servers)
        if not busy:
            # A clock that starts again loses no digits however long the run is.
            self._heap, self._clock, self.next = [], 0.0, inf
            return
        slower = (1 - self._together) * (busy - 1) / max(self._servers - 1, 1)
        self._speed = (1 - slower) * busy / self._width
        while True:
            end, number, version = self._heap[0]
            work = self._under_way.get(number)
            if work is not None and work.version == version:
                break
            heapq.heappop(self._heap)
        self.next = self._at + max(end - self._clock, 0.0) / self._speed


class Line:
    """Work that is done one after the other, each on one of some servers."""

    def __init__(self, servers: Shared) -> None:
        self._servers = servers
        self._queue: deque[tuple[float, Call]] = deque()
        self._busy = False
        self._began = self._used = 0.0

    def add(self, now: float, amount: float, done: Call) -> None:
        """Do some work after all that is waiting."""
        self._queue.append((amount, done))
        if not self._busy:
            self._start(now)

    @property
    def is_free(self) -> bool:
        """Whether nothing is done or waiting."""
        return not self._busy

    def used(self, now: float) -> float:
        """Seconds in use until now."""
        return self._used + (now - self._began if self._busy else 0.0)

    def _start(self, now: float) -> None:
        amount, done = self._queue.popleft()
        self._busy, self._began = True, now

        def finished() -> None:
            # The servers' time is that of this moment.
            at = self._servers.time
            self._used += at - self._began
            self._busy = False
            if self._queue:
                self._start(at)
            done()

        self._servers.add(now, amount, finished)


class Semaphore:
    """Something that only some may have at once; in the order in which they ask."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: deque[Call] = deque()

    def taken(self, then: Call) -> bool:
        """Take it now, or call ``then`` when it is this caller's turn."""
        if self._free:
            self._free -= 1
            return True
        self._queue.append(then)
        return False

    def free(self) -> None:
        """Give it to the next one."""
        if self._queue:
            self._queue.popleft()()
        else:
            self._free += 1
