"""Units of work to the workers of a fleet, each until it is done, whoever dies meanwhile.

The scheduler of Dask carries tasks and results, and knows who is there. Which worker gets which
unit is decided here: a unit goes to one worker by name, so that it is known which units a worker
had when it died, and only workers whose copy of the model was checked get any.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.session import Done, Failed, run
from mlx_probe.analysis.cluster.workers import MEMORY
from mlx_probe.core.errors import ClusterError

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.fleet import Fleet, Member
    from mlx_probe.runs.monitor.gate import Gate

__all__ = ["AHEAD", "DEATHS", "Dispatcher", "Unit"]

# Workers that a unit may kill before it is given up.
DEATHS = 3

# Seconds between two looks at who is there, and for the transfer of a result.
LOOK, TRANSFER = 0.25, 5.0

# Work (`work_of`) up to which a worker gets a unit before it has finished the one before: it takes
# about as long as handing out does. Longer ones would wait there while other workers are idle.
AHEAD = 5e9


@dataclass(frozen=True)
class Unit:
    """What a worker is given at once.

    Attributes:
        payload: What is sent to it.
        name: What it is, for keys and messages.
        sizes: Indices into a session's sizes: it takes at most the largest of them, for each that
            is measured at once.
        at_once: How many are, equal small ones of a backend that is faster so.
        rows: Rows of the main table that it makes.
        work: How long it takes, in flops of a product.
        parts: The same work in smaller units; empty if it cannot be divided.
        deaths: Workers that died while they had it, in order.
    """

    payload: Any
    name: str
    sizes: tuple[int, ...] = ()
    at_once: int = 1
    rows: int = 0
    work: float = 0.0
    parts: tuple[Unit, ...] = ()
    deaths: tuple[str, ...] = ()


@dataclass
class _Flying:
    """A unit that a worker has.

    Attributes:
        unit: The unit.
        member: The worker.
        future: Of Dask.
    """

    unit: Unit
    member: Member
    future: Any


class Dispatcher:
    """Hands out units, the first ones first.

    Args:
        fleet: The workers.
        gate: Closed while nothing may be handed out.
        on_start: Called with each unit that is handed out.
        warn: Called with what happens to workers.
        timeout: Seconds to wait for a worker or a scheduler where there is none.
    """

    def __init__(
        self,
        fleet: Fleet,
        gate: Gate,
        on_start: Callable[[Unit], None],
        warn: Callable[[str], None],
        timeout: float,
    ) -> None:
        self._fleet, self._gate, self._on_start = fleet, gate, on_start
        self._warn, self._timeout = warn, timeout
        self._waiting: deque[Unit] = deque()
        self._flying: dict[str, _Flying] = {}
        self._landed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tries = 0
        self._looked = self._alone_since = time.monotonic()

    def results(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Done | None]]:
        """Do all units.

        Args:
            units: The longest first.

        Yields:
            Each unit with its result, in the order in which they are done; None where it was
            given up, because `DEATHS` workers died with it. A unit that killed a worker may come
            in parts.

        Raises:
            ClusterError: There was no worker for too long, or a worker failed.
            Stopped: The gate is closed for good; the results of units that were handed out come
                first.
        """
        self._waiting = deque(units)
        try:
            while self._waiting or self._flying:
                if self._gate.state == "stopping" and not self._flying:
                    self._gate.wait()
                if self._gate.state == "running":
                    self._hand_out()
                for future in self._next_landed():
                    yield from self._land(future)
                yield from self._watch()
        finally:
            self._recall()

    def _hand_out(self) -> None:
        """Give every free worker a unit, and a second one that is short."""
        for ahead in (0, 1):
            for member in sorted(self._fleet.members.values(), key=self._load):
                while self._waiting and self._may_take(member, self._waiting[0], ahead):
                    self._submit(self._waiting.popleft(), member)

    def _may_take(self, member: Member, unit: Unit, ahead: int) -> bool:
        held = [each.unit for each in self._flying.values() if each.member is member]
        # Alone, so that it is known which unit the next worker died with.
        if unit.deaths or any(each.deaths for each in held):
            return not held
        if ahead and unit.work > AHEAD:
            return False
        return len(held) < member.worker.nthreads + ahead

    def _load(self, member: Member) -> int:
        return sum(each.member is member for each in self._flying.values())

    def _submit(self, unit: Unit, member: Member) -> None:
        self._tries += 1
        key = f"mlx-probe-{self._fleet.token[:16]}-{unit.name}-{self._tries}"
        opened, worker = member.opened, member.worker
        # Those of all threads together are those of the process.
        needed = unit.at_once * max((opened.sizes[i] for i in unit.sizes), default=0)
        needed += opened.memory // worker.nthreads
        self._on_start(unit)
        future = self._fleet.client.submit(
            run,
            self._fleet.token,
            unit.payload,
            key=key,
            workers=[worker.address],
            # A task that wants more than there is would wait forever.
            resources={MEMORY: min(needed, worker.memory or needed)},
            retries=0,
            pure=False,
        )
        self._flying[key] = _Flying(unit, member, future)
        future.add_done_callback(self._landed.put)

    def _next_landed(self) -> list[Any]:
        futures = []
        try:
            futures.append(self._landed.get(timeout=LOOK))
            while True:
                futures.append(self._landed.get_nowait())
        except queue.Empty:
            return futures

    def _land(self, future: Any) -> Iterator[tuple[Unit, Done | None]]:
        """What becomes of a unit whose task ended."""
        flying = self._flying.get(future.key)
        if flying is None or flying.future is not future:
            return  # it was given to another worker meanwhile
        unit, member = flying.unit, flying.member
        try:
            answer = future.result(timeout=TRANSFER)
        except (TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
            # The worker has the result and does not send it. If it is gone, `_watch` sees it.
            self._landed.put(future)
            return
        except Exception:
            # Cancelled; or an error of Dask's own, for a task itself raises nothing. That counts,
            # or a result that cannot be read would be asked for without an end.
            is_error = future.status == "error"
            unit = self._take_back(future.key)
            if is_error:
                yield from self._once_more(unit, member)
            else:
                self._waiting.appendleft(unit)
            return
        if isinstance(answer, Failed):
            if answer.why == "lost":
                unit = self._take_back(future.key)
                yield from self._part(member, f"has lost its work ({answer.fact})")
                yield from self._once_more(unit, member)
                return
            fact = f"{member.worker.label}: {unit.name}: {answer.fact}"
            if answer.why == "bug":
                raise RuntimeError(f"{fact}\n{answer.remedy}")
            raise ClusterError(fact, answer.remedy)
        del self._flying[future.key]
        member.rows += unit.rows
        member.seconds += answer.seconds
        member.peak_memory = max(member.peak_memory, answer.peak_memory)
        future.release()
        yield unit, answer

    def _watch(self) -> Iterator[tuple[Unit, Done | None]]:
        """Look who left and who came, now and then."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if self._fleet.members:
            self._alone_since = now
        changes = self._fleet.refresh()
        if changes is None:
            self._recall()
            self._reconnect()
            return
        if changes.anew:
            self._recall()
        for member in changes.lost:
            yield from self._part(member, "is gone")
        for member in changes.joined:
            self._warn(f"{member.worker.label} takes part from now on")
        for each in changes.refused:
            self._warn(f"{each.worker.label} may not take part: {each.fact}. {each.remedy}")
        if not self._fleet.members and now - self._alone_since > self._timeout:
            raise ClusterError(
                f"no worker was there for {self._timeout:.0f} s; finished rows are saved",
                "Start workers and run the same command again to go on from there",
            )

    def _part(self, member: Member, why: str) -> Iterator[tuple[Unit, Done | None]]:
        """Take back the units of a member that is gone.

        Any that it had not finished may be the cause. They come alone from then on, so that one
        that was only beside the cause is done next time.
        """
        self._fleet.forget(member)
        held = {key: each.future for key, each in self._flying.items() if each.member is member}
        # What it had finished is not the cause, though its result is gone, too.
        finished = [key for key, each in held.items() if each.status in ("finished", "lost")]
        rest = [self._take_back(key) for key in finished]
        suspected = [self._take_back(key) for key in held if key not in finished]
        names = ", ".join(unit.name for unit in suspected)
        text = f"{member.worker.label} {why}"
        self._warn(f"{text}; measured again: {names}" if names else text)
        self._waiting.extendleft(reversed(rest))
        for unit in reversed(suspected):
            yield from self._once_more(unit, member)

    def _once_more(self, unit: Unit, member: Member) -> Iterator[tuple[Unit, Done | None]]:
        """Put back a unit that may be why a worker failed, or give it up."""
        deaths = (*unit.deaths, member.worker.label)
        if unit.parts:
            again = [replace(part, deaths=deaths) for part in unit.parts]
            self._waiting.extendleft(reversed(again))
        elif len(deaths) < DEATHS:
            self._waiting.appendleft(replace(unit, deaths=deaths))
        else:
            yield replace(unit, deaths=deaths), None

    def _take_back(self, key: str) -> Unit:
        flying = self._flying.pop(key)
        self._cancel([flying.future])
        return flying.unit

    def _recall(self) -> None:
        """Take back everything: nobody is to blame."""
        units = [each.unit for each in self._flying.values()]
        self._cancel([each.future for each in self._flying.values()])
        self._flying.clear()
        self._waiting.extendleft(reversed(units))

    def _cancel(self, futures: Sequence[Any]) -> None:
        if not futures:
            return
        try:
            self._fleet.client.cancel(futures, asynchronous=False)
        except Exception:  # the scheduler is gone, and with it the tasks
            return

    def _reconnect(self) -> None:
        self._warn("the scheduler does not answer: waiting for it")
        until = time.monotonic() + self._timeout
        while not self._fleet.reconnect(2.0):
            self._gate.wait()
            if time.monotonic() > until:
                raise ClusterError(
                    f"the scheduler did not answer for {self._timeout:.0f} s; finished rows are "
                    "saved",
                    "Start the scheduler and its workers, and run the same command again",
                )
        self._alone_since = time.monotonic()
