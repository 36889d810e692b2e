"""A simulation of runs: tasks on one or several machines that share disk, GPU, cores, interpreter.

A discrete-event simulation of what the engine does: `run_within_budget` hands out tasks, the
first that fits into the memory budget, to a number of workers; each task prefetches a later one,
takes a lane, streams its elements, solves on the cores that it has been lent, computes metrics;
the client takes the rows. On several machines a scheduler sends tasks with a delay.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from math import inf

from _records import Demand, Machine, Outcome, Piece
from _resources import Line, Semaphore, Shared

__all__ = ["Demand", "Machine", "Outcome", "Piece", "simulate"]


# A step begins something, and says whether it is done already. If not, it calls back.
Step = Callable[[Callable[[], None]], bool]


def simulate(
    tasks: Sequence[Demand],
    machines: Sequence[Machine],
    row: float = 0.0,
    latency: float = 0.0,
    start: float = 0.0,
) -> Outcome:
    """Run tasks to their end.

    Args:
        tasks: In the order in which they are handed out.
        machines: One machine takes its tasks from memory, and its client's rows pass through the
            workers' interpreter; several get their tasks from a scheduler, and the client is a
            process of its own.
        row: Seconds of the client's interpreter for a row.
        latency: Seconds of a message between scheduler and worker.
        start: Seconds of the client's interpreter before it takes the first row.
    """
    return _Run(tasks, machines, row, latency).outcome(start)


class _Run:
    """A clock, machines, and the tasks that no machine has yet."""

    def __init__(
        self,
        tasks: Sequence[Demand],
        machines: Sequence[Machine],
        row: float,
        latency: float,
    ) -> None:
        self.now = 0.0
        self._row, self._latency = row, latency
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._sent = 0
        self._left, self._rows = len(tasks), 0.0
        self.on_one = len(machines) == 1
        self.tasks, self.workers = tasks, sum(machine.workers for machine in machines)
        self._waiting = deque(() if self.on_one else enumerate(tasks))
        self._nodes = [_Node(self, machine) for machine in machines]
        self._servers = [server for node in self._nodes for server in node.servers]
        if self.on_one:
            self._nodes[0].local.extend(enumerate(tasks))
            self._client = self._nodes[0].interpreters[0]
        else:
            self._servers.append(alone := Shared(1))
            self._client = Line(alone)

    def outcome(self, start: float) -> Outcome:
        """Go on from event to event until the client has every row."""
        self._client.add(0.0, start, _nothing)
        self._hand_out()
        for node in self._nodes:
            node.start()
        while self._left:
            server = min(self._servers, key=_next)
            if self._later and self._later[0][0] <= server.next:
                self.now, _, call = heapq.heappop(self._later)
            else:
                self.now = server.next
                call = server.finish(self.now)
            call()
        return Outcome(
            seconds=self.now,
            tail=self.now - min(node.idle_from for node in self._nodes),
            used=tuple(node.used() for node in self._nodes),
            read=sum(node.read for node in self._nodes),
            memory=max(node.most for node in self._nodes),
            client=self._rows,
        )

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something later."""
        self._sent += 1
        heapq.heappush(self._later, (self.now + seconds, self._sent, call))

    def done(self, node: _Node, task: Demand) -> None:
        """A task has ended on a machine."""
        if self.on_one:
            self._take_rows(task)
            return

        def told() -> None:
            self._take_rows(task)
            node.given -= 1
            self._hand_out()

        self.after(self._latency, told)

    def _take_rows(self, task: Demand) -> None:
        def taken() -> None:
            self._left -= 1

        seconds = self._row * task.rows
        self._rows += seconds
        self._client.add(self.now, seconds, taken)

    def _hand_out(self) -> None:
        """As `Dispatcher`: a task to every free worker, and a second one that is short."""
        for ahead in (False, True):
            for node in sorted(self._nodes, key=lambda each: each.given):
                while self._waiting and node.given < node.places(ahead):
                    if ahead and not self._waiting[0][1].ahead:
                        return
                    node.given += 1
                    self.after(self._latency, partial(node.receive, *self._waiting.popleft()))


class _Node:
    """One machine: what it has, and what it does now."""

    def __init__(self, run: _Run, machine: Machine) -> None:
        self._run, self._machine, self.given = run, machine, 0
        self._disk = Shared(1)
        self._cores = Shared(machine.cores, together=machine.together)
        self._gpu_server = Shared(1)
        self.servers = [self._disk, self._cores, self._gpu_server]
        self._gpu, processes = Line(self._gpu_server), range(machine.processes)
        self.interpreters = [Line(self._cores) for _ in processes]
        self._lanes = [Semaphore(machine.lanes or machine.workers) for _ in processes]
        self._alone = [Semaphore(1) for _ in processes]
        # The process of each worker that has nothing to do.
        self._free = [number % machine.processes for number in range(machine.workers)]
        # Tasks that nobody has begun, with their positions among all.
        self.local: deque[tuple[int, Demand]] = deque()
        self._running: dict[int, Demand] = {}
        self._shares: dict[int, int] = {}
        self._memory = self.most = 0
        # Whoever waits for a task's bytes; those of other tasks are there.
        self._reading: dict[int, list[Callable[[], None]]] = {}
        self._asked: set[int] = set()
        self.read, self.idle_from = 0.0, inf
        self._in_lane, self._in_workers = [0.0] * machine.processes, 0.0

    def used(self) -> dict[str, float]:
        """Seconds of each resource in use until now."""
        now = self._run.now
        return {
            "disk": self._disk.occupied(now),
            "GPU": self._gpu.used(now),
            "lane": max(self._in_lane),
            "cores": self._cores.occupied(now),
            "interpreter": max(each.used(now) for each in self.interpreters),
            "workers": self._in_workers,
        }

    def places(self, ahead: bool) -> int:
        """Tasks that it may have at once."""
        return self._machine.workers + ahead * self._machine.processes

    def receive(self, number: int, task: Demand) -> None:
        """Take a task from the scheduler."""
        self.local.append((number, task))
        self.start()

    def start(self) -> None:
        """As `run_within_budget`: a free worker takes the first task that fits."""
        workers, began = self._machine.workers, []
        while self.local and len(self._running) < workers:
            free = self._machine.budget - self._memory
            fitting = (i for i, (_, task) in enumerate(self.local) if task.size <= free)
            index = next(fitting, None if self._running else 0)
            if index is None:
                break
            number, task = self.local[index]
            del self.local[index]
            self._running[number] = task
            self._memory += task.size
            self.most = max(self.most, self._memory)
            began.append((number, task))
        self._lend()
        for number, task in began:
            self._go_on(self._steps(number, task))
        idle = len(self._running) < workers and not self.local
        self.idle_from = min(self.idle_from, self._run.now) if idle else inf

    def _lend(self) -> None:
        """As `_lend` of the schedule: cores that are left over go to the largest tasks."""
        if self._machine.processes > 1:
            # A worker of one thread has one core.
            self._shares = dict.fromkeys(self._running, 1)
            return
        cores = min(self._machine.cores, self._machine.workers)
        each, left = divmod(cores, max(len(self._running), 1))
        by_size = sorted(self._running, key=lambda number: -self._running[number].size)
        self._shares = {n: max(each + (i < left), 1) for i, n in enumerate(by_size)}
        self._cores.widen(self._run.now, self._shares)

    def _prefetch(self, number: int, task: Demand) -> None:
        if number in self._asked:
            return
        self._asked.add(number)
        if not task.read:
            return
        self.read += task.read
        if self._machine.disk == inf:
            return
        waiting = self._reading[number] = []

        def there() -> None:
            del self._reading[number]
            for call in waiting:
                call()

        self._disk.add(self._run.now, task.read / self._machine.disk, there)

    def _steps(self, number: int, task: Demand) -> Generator[Step, None, None]:
        """The life of a task, as in `stream.analyze_rows` and `Measurer`."""
        began, process = self._run.now, self._free.pop()
        lane, interpreter = self._lanes[process], self.interpreters[process]

        def interpret(seconds: float) -> Step:
            return partial(self._interpret, interpreter, seconds)

        later = number + self._run.workers
        if later < len(self._run.tasks):
            self._prefetch(later, self._run.tasks[later])
        if task.alone:
            yield self._alone[process].taken
        yield lane.taken
        held = self._run.now
        self._prefetch(number, task)
        yield partial(self._wait_for_bytes, number)
        for piece in task.pieces:
            yield partial(self._compute, piece.host)
            yield interpret(0.0)
            if piece.waited:
                yield partial(self._on_gpu, piece.waited)
            yield partial(self._pause, piece.noticed)
            if piece.queued:
                self._gpu.add(self._run.now, piece.queued, _nothing)
        self._in_lane[process] += self._run.now - held
        lane.free()
        if any(piece.queued for piece in task.pieces):
            yield partial(self._on_gpu, 0.0)
        # Whoever comes back from arithmetic waits for the interpreter.
        yield interpret(0.0)
        yield partial(self._divide, number, task.divisible)
        yield interpret(0.0)
        yield partial(self._compute, task.single)
        yield interpret(task.interpreter)
        if task.alone:
            self._alone[process].free()
        del self._running[number]
        self._free.append(process)
        self._memory -= task.size
        self._in_workers += self._run.now - began
        self._run.done(self, task)
        self.start()

    def _go_on(self, steps: Generator[Step, None, None]) -> None:
        """Take a task's steps until one has to wait."""
        again = partial(self._go_on, steps)
        for step in steps:
            if not step(again):
                return

    def _wait_for_bytes(self, number: int, again: Callable[[], None]) -> bool:
        waiting = self._reading.get(number)
        if waiting is None:
            return True
        waiting.append(again)
        return False

    def _pause(self, seconds: float, again: Callable[[], None]) -> bool:
        if seconds:
            self._run.after(seconds, again)
        return not seconds

    def _compute(self, seconds: float, again: Callable[[], None]) -> bool:
        if seconds:
            self._cores.add(self._run.now, seconds, again)
        return not seconds

    def _divide(self, number: int, seconds: float, again: Callable[[], None]) -> bool:
        if seconds:
            width, lent = self._shares[number], self._machine.lent
            self._cores.add(self._run.now, seconds, again, width, lent, number)
        return not seconds

    def _interpret(self, line: Line, seconds: float, again: Callable[[], None]) -> bool:
        if not seconds and line.is_free:
            return True
        line.add(self._run.now, seconds, again)
        return False

    def _on_gpu(self, seconds: float, again: Callable[[], None]) -> bool:
        self._gpu.add(self._run.now, seconds, again)
        return False


def _nothing() -> None:
    pass


def _next(server: Shared) -> float:
    return server.next
