"""The workers of a cluster that take part in a job: who may, who left, who came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.asking import ask, no_answer
from mlx_probe.analysis.cluster.copies import CopyDigest, difference
from mlx_probe.analysis.cluster.facts import WorkerFacts, gather_facts
from mlx_probe.analysis.cluster.fitness import lacks_memory, other_copy, refusal
from mlx_probe.analysis.cluster.session import Opened, close_session, open_session
from mlx_probe.analysis.cluster.workers import Worker, workers_of
from mlx_probe.core.errors import ClusterError
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.connection import Connection
    from mlx_probe.analysis.cluster.copied_model import CopiedModel
    from mlx_probe.analysis.cluster.session import Setup

__all__ = ["Changes", "Expected", "Fleet", "Member", "Refused"]

# Seconds between two looks for the first worker.
_BETWEEN = 0.2


@dataclass(frozen=True)
class Expected:
    """What a worker has to have to take part.

    Attributes:
        models: The models.
        copies: Digests of the client's copies of them, in the same order.
        content: See `Session`.
        backend: What the user asked for.
        labels: Name of what each size of `Session.sizes` is for.
        needed: Indices of the sizes that have to fit; the others are done already.
    """

    models: tuple[CopiedModel, ...]
    copies: tuple[CopyDigest, ...]
    content: str
    backend: str
    labels: Callable[[int], str]
    needed: Sequence[int]


@dataclass
class Member:
    """A worker that takes part.

    Attributes:
        worker: The worker.
        opened: What it said when it opened its session.
        rows: Rows that it has made.
        seconds: Time that its tasks took.
        peak_memory: Most resident bytes of its process.
        left: Whether it is gone.
    """

    worker: Worker
    opened: Opened
    rows: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    left: bool = False

    def describe(self) -> dict[str, Any]:
        """For the metadata of the run."""
        facts = self.opened.facts
        return {
            "name": self.worker.name,
            "host": facts.host,
            "address": self.worker.address,
            "threads": self.worker.nthreads,
            "memory": self.worker.memory,
            "backend": facts.backend,
            "device": facts.device,
            "cpu": facts.cpu,
            "cores": facts.cores,
            "code_version": facts.code_version,
            "python": facts.python,
            "packages": dict(facts.packages),
            "blas": facts.blas,
            "kernels": dict(facts.kernels),
            "rows": self.rows,
            "seconds": self.seconds,
            "peak_process_memory": self.peak_memory,
            "left": self.left,
        }


@dataclass(frozen=True)
class Refused:
    """A worker that may not take part.

    Attributes:
        worker: The worker.
        fact: Why not.
        remedy: What to do about it.
    """

    worker: Worker
    fact: str
    remedy: str


@dataclass
class Changes:
    """What happened to a fleet since the last look.

    Attributes:
        anew: Whether the scheduler is another one, which knows nothing of earlier tasks.
        lost: Members that are gone.
        refused: Newcomers that may not take part.
        joined: Newcomers that take part.
    """

    anew: bool = False
    lost: list[Member] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    joined: list[Member] = field(default_factory=list)


class Fleet:
    """The workers that take part in a job.

    Args:
        connection: To their scheduler.
        setup: What each needs to open its session.
        expected: What each has to have.

    Attributes:
        members: Those that take part now, by address.
        all: Those that take or took part, in the order in which they came.
        only: What decides the last digits of every row of this job; None if workers may differ.
    """

    def __init__(self, connection: Connection, setup: Setup, expected: Expected) -> None:
        self._connection, self._setup, self._expected = connection, setup, expected
        self._own = gather_facts("auto", "auto")
        self.members: dict[str, Member] = {}
        self.all: list[Member] = []
        self.only: Mapping[str, Any] | None = None
        self._scheduler: str | None = None
        self._refused: set[str] = set()
        self._newcomers: Future[list[Member | Refused]] | None = None
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="fleet")

    @property
    def client(self) -> Any:
        """The client of Dask."""
        return self._connection.client

    @property
    def token(self) -> str:
        """Of the sessions."""
        return self._setup.token

    def enlist(self, timeout: float) -> None:
        """Take in the workers that are there.

        Args:
            timeout: Seconds for the first worker to come, and for a scheduler that went away.

        Raises:
            ClusterError: There are none after that time, or some may not take part.
        """
        until = time.monotonic() + timeout
        refused: list[Refused] = []
        while not self.members and not refused:
            try:
                self._scheduler, workers = self._look()
                results = self._open(workers)
                # Those that went away meanwhile are no reason to refuse anything.
                there = {worker.address for worker in self._look()[1]}
            except (OSError, RuntimeError):
                results, there = [], set()
                self.reconnect(1.0)
            for result in results:
                if isinstance(result, Member):
                    self._add(result)
                elif result.worker.address in there:
                    refused.append(result)
            if not results:
                if time.monotonic() > until:
                    raise ClusterError(
                        "the cluster has no worker",
                        'Start some: dask worker ADDRESS --nthreads 1 --resources "MEMORY=64e9"',
                    )
                time.sleep(_BETWEEN)
        if refused:
            raise _refused(refused, len(results))

    def refresh(self) -> Changes | None:
        """Look who left and who came; newcomers are looked at beside the work.

        Returns:
            None if the scheduler does not answer: all members are gone then.
        """
        changes = Changes()
        try:
            scheduler, workers = self._look()
        except (OSError, RuntimeError):
            scheduler, workers = None, []
        if scheduler is None or scheduler != self._scheduler:
            changes.anew = True
            changes.lost = self._drop(list(self.members))
            self._refused.clear()
            self._scheduler = scheduler
            if scheduler is None:
                return None
        there = {worker.address: worker for worker in workers}
        changes.lost += self._drop([a for a in self.members if a not in there])
        self._refused &= there.keys()
        if self._newcomers is not None and self._newcomers.done():
            with suppress(OSError, RuntimeError):  # a scheduler that went away meanwhile
                for result in self._newcomers.result():
                    if isinstance(result, Refused):
                        self._refused.add(result.worker.address)
                        changes.refused.append(result)
                    elif result.worker.address in there:
                        self._add(result)
                        changes.joined.append(result)
            self._newcomers = None
        new = [w for a, w in there.items() if a not in self.members and a not in self._refused]
        if new and self._newcomers is None:
            self._newcomers = self._beside.submit(self._open, new)
        return changes

    def forget(self, member: Member) -> None:
        """Take a member out that has to open its session again."""
        self._drop([member.worker.address])

    def reconnect(self, timeout: float) -> bool:
        """Try for some seconds to reach the scheduler again."""
        return self._connection.reconnect(timeout)

    def close(self) -> None:
        """Let the workers close their sessions, if they still answer."""
        self._beside.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):
            if self.members and self.client.status == "running":
                # One that was killed just now would be waited for.
                ask(self.client, list(self.members), close_session, self.token, timeout=5)

    def _look(self) -> tuple[str, list[Worker]]:
        info = self.client.scheduler_info(n_workers=-1)
        if self.client.status != "running" or "id" not in info:
            raise OSError
        return info["id"], workers_of(info["workers"])

    def _open(self, workers: Sequence[Worker]) -> list[Member | Refused]:
        """Let workers open their sessions; for each that may not take part the fact and remedy."""
        addresses = [worker.address for worker in workers]
        # Facts first: another version of mlx-probe would not understand what it is to open.
        setup = self._setup
        facts = ask(self.client, addresses, gather_facts, setup.backend, setup.device)
        problems = {w.address: self._unfit(w, facts.get(w.address)) for w in workers}
        fit = [worker.address for worker in workers if problems[worker.address] is None]
        # As long as it takes: whole copies may have to be hashed.
        opened = ask(self.client, fit, open_session, setup, timeout=None)
        results: list[Member | Refused] = []
        for worker in workers:
            problem = problems[worker.address]
            answer = opened.get(worker.address)
            if problem is None and isinstance(answer, Opened):
                problem = self._other(worker, answer)
                if problem is None:
                    named = replace(worker, host=answer.facts.host)
                    results.append(Member(named, answer, peak_memory=answer.memory))
                    continue
            if problem is None:
                problem = no_answer(answer)
            results.append(Refused(worker, *problem))
        return results

    def _unfit(self, worker: Worker, facts: object) -> tuple[str, str] | None:
        if not isinstance(facts, WorkerFacts):
            return no_answer(facts)
        return refusal(facts, self._own, self._expected.backend) or lacks_memory(worker)

    def _other(self, worker: Worker, opened: Opened) -> tuple[str, str] | None:
        """Fact and remedy if a worker has other copies, or too little memory."""
        if opened.problem is not None:
            return opened.problem
        expected = self._expected
        for model, own, copy in zip(expected.models, expected.copies, opened.copies, strict=True):
            if (what := difference(own, copy)) is not None:
                return other_copy(model.files.model_id, what, model.option)
        if opened.content != expected.content:
            names = [model.files.model_id for model in expected.models]
            return (
                f"it finds other tensors in {' and '.join(names)}",
                "Install the same versions of mlx-probe, gguf and safetensors there",
            )
        if self.only is not None and opened.numerics != self.only:
            return (
                f"it computes with {opened.facts.backend} on {opened.facts.device}, and this run "
                "began with workers whose rows have the bits of this machine's",
                "Start the run anew with this worker there from the beginning",
            )
        largest = max(expected.needed, key=lambda i: opened.sizes[i], default=None)
        least = opened.memory + (opened.sizes[largest] if largest is not None else 0)
        if largest is not None and worker.memory is not None and least > worker.memory:
            return (
                f"its memory of {format_size(worker.memory)} cannot hold "
                f"{expected.labels(largest)!r}: it takes {format_size(opened.sizes[largest])} "
                f"beside the {format_size(opened.memory)} of the process itself",
                "Start fewer workers, raise --memory-limit, or leave the tensor out with --exclude"
                if self._connection.is_local
                else f'Start it with --resources "MEMORY={round(1.05 * least):d}" at least, or '
                "leave the tensor out with --exclude",
            )
        return None

    def _add(self, member: Member) -> None:
        self.members[member.worker.address] = member
        self.all.append(member)

    def _drop(self, addresses: Iterable[str]) -> list[Member]:
        lost = [self.members.pop(address) for address in addresses if address in self.members]
        for member in lost:
            member.left = True
        return lost


def _refused(refused: Sequence[Refused], count: int) -> ClusterError:
    lines = [f"{each.worker.label}: {each.fact}\n    {each.remedy}" for each in refused]
    return ClusterError(
        f"{len(refused)} of {count} workers may not take part\n  " + "\n  ".join(lines),
        "Put that right or stop these workers, and run the same command again",
    )
