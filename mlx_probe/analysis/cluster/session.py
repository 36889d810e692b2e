"""What a worker does: it opens its own copy of a model once, and measures what it is given.

Everything here runs on the worker. A session stays open between tasks, under a token that tells
one analysis from another; a process that was started again has none, and says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from mlx_probe.analysis.cluster.allocator import as_by_itself
from mlx_probe.analysis.cluster.copies import CopyDigest
from mlx_probe.analysis.cluster.facts import WorkerFacts, gather_facts
from mlx_probe.analysis.cluster.workers import MEMORY
from mlx_probe.core.errors import ProbeError
from mlx_probe.runs.monitor import UsageMeter, Work
from mlx_probe.runs.monitor.usage import process_memory

__all__ = [
    "Allowance",
    "Done",
    "Failed",
    "Opened",
    "Session",
    "Setup",
    "close_session",
    "open_session",
    "run",
]


@dataclass(frozen=True)
class Allowance:
    """The memory that a worker was started with.

    Attributes:
        memory: Bytes for its process in all; 0 if it does not say.
        threads: Units that it works on at once.
    """

    memory: int
    threads: int

    @property
    def each(self) -> int:
        """Bytes that each thread may take beside what the process takes now."""
        return (self.memory - process_memory()) // self.threads


class Session(Protocol):
    """A model that a worker has opened, with the way to measure it.

    Attributes:
        copies: Digests of the worker's copies.
        content: SHA-256 of the names and shapes of what is measured, in its order.
        numerics: What decides the last digits of a row.
        sizes: Bytes of memory that each weight, and each part of a side table, takes on this
            worker.
        meter: Counts the cost of the stages.
    """

    copies: tuple[CopyDigest, ...]
    content: str
    numerics: Mapping[str, Any]
    sizes: tuple[int, ...]
    meter: UsageMeter

    def run(self, unit: Any) -> Any:
        """The result of a unit of work."""

    def close(self) -> None:
        """Let the files go."""


class Setup(Protocol):
    """What a worker needs to open a session; sent to it."""

    @property
    def token(self) -> str:
        """Tells one analysis from another."""

    @property
    def backend(self) -> str:
        """Key in `BACKENDS`, or "auto"."""

    @property
    def device(self) -> str:
        """One of "auto", "cpu" and "gpu"."""

    def open(self, facts: WorkerFacts, name: str, allowed: Allowance) -> Session:
        """Open the models on a worker.

        Args:
            facts: The worker.
            name: Its name.
            allowed: Its memory.

        Raises:
            ProbeError: The model is not there, or damaged.
        """


@dataclass(frozen=True)
class Opened:
    """What a worker says of itself and of a session that it has opened.

    Attributes:
        facts: The worker.
        copies: Digests of its copies; empty if it could not open them.
        content: See `Session`.
        numerics: See `Session`.
        sizes: See `Session`.
        memory: Resident bytes of the process with the session open.
        problem: Fact and remedy if it could not open its copies; None if it could.
    """

    facts: WorkerFacts
    copies: tuple[CopyDigest, ...] = ()
    content: str = ""
    numerics: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    memory: int = 0
    problem: tuple[str, str] | None = None


@dataclass(frozen=True)
class Done:
    """The result of a unit of work.

    Attributes:
        result: Of `Session.run`.
        seconds: How long it took.
        stages: What the stages have cost since the last result of this worker.
        peak_memory: Most resident bytes of the process so far.
    """

    result: Any
    seconds: float
    stages: Mapping[str, Work]
    peak_memory: int


@dataclass(frozen=True)
class Failed:
    """Why there is no result. An exception would have to survive pickling; texts do.

    Attributes:
        why: "lost" if the process has not opened its model or its memory is full, so that another
            worker can do the unit; "refused" for a failure that the user can do something about;
            "bug" for any other.
        fact: What is wrong.
        remedy: What to do next; for a bug the traceback.
    """

    why: Literal["lost", "refused", "bug"]
    fact: str
    remedy: str = ""


@dataclass
class _Kept:
    session: Session
    told: dict[str, Work] = field(default_factory=dict)


# Sessions of a process: several clients may share a cluster, and one that was killed leaves its
# session open.
_MOST = 4

_opening, _lock = threading.Lock(), threading.Lock()
_kept: dict[str, _Kept] = {}


async def open_session(setup: Setup, dask_worker: Any) -> Opened:
    """Open a session on a worker; one that is open stays as it is.

    Args:
        setup: What to open.
        dask_worker: The worker, which ``Client.run`` passes by this name.
    """
    name, state = str(dask_worker.name), dask_worker.state
    allowed = Allowance(int(state.total_resources.get(MEMORY, 0)), state.nthreads)
    # In a thread: a large model takes seconds, and the worker has to answer its scheduler.
    return await asyncio.to_thread(_open, setup, name, allowed)


def _open(setup: Setup, name: str, allowed: Allowance) -> Opened:
    facts = gather_facts(setup.backend, setup.device)
    with _opening:
        kept = _kept.get(setup.token)
        if kept is None:
            as_by_itself()
            try:
                kept = _Kept(setup.open(facts, name, allowed))
            except ProbeError as error:
                return Opened(facts, problem=(error.fact, error.remedy))
            with _lock:
                _kept[setup.token] = kept
                oldest = [_kept.pop(token) for token in list(_kept)[:-_MOST]]
            for each in oldest:
                each.session.close()
    session = kept.session
    return Opened(
        facts,
        session.copies,
        session.content,
        session.numerics,
        session.sizes,
        process_memory(),
    )


def run(token: str, unit: Any) -> Done | Failed:
    """Do a unit of work in an open session.

    Args:
        token: Of the session.
        unit: What the session understands.
    """
    with _lock:
        kept = _kept.pop(token, None)
        if kept is None:
            return Failed("lost", "the process was started again")
        _kept[token] = kept  # the last one is the last to be closed
    began = time.perf_counter()
    try:
        result = kept.session.run(unit)
    except ProbeError as error:
        return Failed("refused", error.fact, error.remedy)
    except MemoryError:
        return Failed("lost", "the memory is full")
    except Exception as error:
        return Failed("bug", repr(error), traceback.format_exc())
    seconds = time.perf_counter() - began
    usage = kept.session.meter.usage()
    with _lock:
        stages = {name: _more(work, kept.told.get(name)) for name, work in usage.stages.items()}
        kept.told = dict(usage.stages)
    stages = {name: work for name, work in stages.items() if work != Work()}
    return Done(result, seconds, stages, usage.peak_memory)


def _more(work: Work, told: Work | None) -> Work:
    if told is None:
        return work
    return Work(work.seconds - told.seconds, work.bytes - told.bytes, work.flops - told.flops)


async def close_session(token: str) -> None:
    """Close a session on the worker that calls this, if it is open."""
    with _lock:
        kept = _kept.pop(token, None)
    if kept is not None:
        await asyncio.to_thread(kept.session.close)
