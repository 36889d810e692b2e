"""What goes into a simulated run and what comes out: demands of tasks, machines, the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

__all__ = ["Demand", "Machine", "Outcome", "Piece"]


@dataclass(frozen=True)
class Piece:
    """A slab on its way through the lane.

    Attributes:
        host: Seconds of one core to bring it into the backend's memory.
        waited: Seconds of the GPU that the host waits for.
        noticed: Seconds until the host knows that it need not wait any longer.
        queued: Seconds of the GPU that the lane does not wait for.
    """

    host: float
    waited: float = 0.0
    noticed: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True)
class Demand:
    """What a task takes.

    Attributes:
        size: Bytes of memory.
        read: Bytes from the disk.
        pieces: Its slabs, in the lane.
        divisible: Seconds of one core that lent cores shorten: eigenvalues, products on the CPU.
        single: Seconds of one core that they do not, outside the interpreter.
        interpreter: Seconds during which no other thread runs Python.
        rows: Rows that the client takes from it.
        alone: Whether no other such task runs meanwhile: many tiny weights in one.
        ahead: Whether a worker of several machines is sent it before it has finished another one.
    """

    size: int
    read: float
    pieces: tuple[Piece, ...] = ()
    divisible: float = 0.0
    single: float = 0.0
    interpreter: float = 0.0
    rows: int = 1
    alone: bool = False
    ahead: bool = False


@dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
        workers: Tasks at once.
        cores: Cores that they share.
        budget: Bytes of memory of all tasks at once.
        disk: Bytes in a second.
        lanes: Tasks in a lane of a process at once; 0 for any number.
        together: Speed of a core when all are busy, of that when it is the only one.
        lent: What each further core adds to work that it is lent to, in cores.
        processes: Processes of the workers; each has an interpreter and lanes of its own.
    """

    workers: int
    cores: int
    budget: float = inf
    disk: float = inf
    lanes: int = 0
    together: float = 1.0
    lent: float = 1.0
    processes: int = 1


@dataclass(frozen=True)
class Outcome:
    """A simulated run.

    Attributes:
        seconds: Until the client has the last row.
        tail: Seconds at the end during which at least one worker had nothing to do.
        used: Of each machine, by resource: seconds in use; core seconds of cores, worker seconds
            of workers; of lanes and interpreters those of the busiest process.
        read: Bytes that all disks gave.
        memory: Most bytes of tasks at once on a machine.
        client: Seconds of the client's interpreter with rows.
    """

    seconds: float
    tail: float
    used: tuple[Mapping[str, float], ...]
    read: float
    memory: int
    client: float
