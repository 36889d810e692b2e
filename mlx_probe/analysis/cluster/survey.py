"""A look at the workers of a cluster before any work: what they are, and which would be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.asking import ask, no_answer
from mlx_probe.analysis.cluster.copied_model import CopiedModel, copied_model
from mlx_probe.analysis.cluster.copies import CopyDigest, copy_digest, difference
from mlx_probe.analysis.cluster.facts import WorkerFacts, gather_facts
from mlx_probe.analysis.cluster.fitness import cautions, lacks_memory, other_copy, refusal, unlike
from mlx_probe.analysis.cluster.workers import Worker, workers_of
from mlx_probe.core.errors import ProbeError

if TYPE_CHECKING:
    from distributed import Client

    from mlx_probe.checkpoint import Checkpoint

__all__ = ["Request", "Survey", "Surveyed", "survey"]

# Seconds for the rates of a machine: they are measured in a process of its own.
_CALIBRATION = 120.0


@dataclass(frozen=True)
class Request:
    """What is asked of the workers.

    Attributes:
        backend: Key in `BACKENDS`, or "auto".
        device: "auto", "cpu" or "gpu".
        calibrate: Whether to measure the rates of machines that have none.
        checkpoint: A model whose copies on the workers are compared with this one; None for none.
        model_paths: Where the workers have it; see `ClusterConfig.model_paths`.
        full_hash: Whether whole copies are hashed, and not only headers and samples.
    """

    backend: str = "auto"
    device: str = "auto"
    calibrate: bool = True
    checkpoint: Checkpoint | None = None
    model_paths: tuple[str, ...] = ()
    full_hash: bool = False


@dataclass(frozen=True)
class Surveyed:
    """A worker, and what became of it.

    Attributes:
        worker: The worker, with the name of its machine if it answered.
        facts: What it is; None if it did not answer.
        problem: Fact and remedy if an analysis would refuse it; None if not.
    """

    worker: Worker
    facts: WorkerFacts | None = None
    problem: tuple[str, str] | None = None

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        worker, problem = self.worker, self.problem
        return {
            "name": worker.name,
            "host": worker.host,
            "address": worker.address,
            "threads": worker.nthreads,
            "memory": worker.memory,
            "facts": self.facts and self.facts.describe(),
            "refusal": problem and dict(zip(("fact", "remedy"), problem, strict=True)),
        }


@dataclass(frozen=True)
class Survey:
    """What a look at a cluster has shown.

    Attributes:
        workers: In the order in which they came to the scheduler.
        model: Name of the model whose copies were compared; None for none.
        unlike: What differs between the workers that would take part, a sentence each.
        cautions: What else the user should know, a sentence each.
    """

    workers: tuple[Surveyed, ...]
    model: str | None = None
    unlike: tuple[str, ...] = field(default=())
    cautions: tuple[str, ...] = field(default=())

    @property
    def refused(self) -> list[Surveyed]:
        """The workers that an analysis would refuse."""
        return [each for each in self.workers if each.problem is not None]

    @property
    def is_fit(self) -> bool:
        """Whether there are workers, and none would be refused."""
        return bool(self.workers) and not self.refused

    def describe(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "status": "ok" if self.is_fit else "error",
            "model": self.model,
            "workers": [each.describe() for each in self.workers],
            "unlike": list(self.unlike),
            "cautions": list(self.cautions),
        }


def survey(client: Client, request: Request) -> Survey:
    """Look at the workers of a cluster.

    Args:
        client: Of its scheduler.
        request: What to ask them.

    Raises:
        OSError: The scheduler went away.
    """
    workers = workers_of(client.scheduler_info(n_workers=-1)["workers"])
    own = gather_facts("auto", "auto")
    answers = ask(client, _addresses(workers), gather_facts, request.backend, request.device)
    results = [_surveyed(w, answers[w.address], own, request.backend) for w in workers]
    if request.calibrate:
        results = _calibrated(client, request, results)
    model = None
    if request.checkpoint is not None:
        model = request.checkpoint.files.model_id
        results = _compared(client, request, request.checkpoint, results)
    taking_part = [each for each in results if each.problem is None and each.facts is not None]
    facts = [each.facts for each in taking_part if each.facts is not None]
    return Survey(
        tuple(results),
        model,
        tuple(unlike(facts)),
        tuple(cautions([each.worker for each in taking_part], facts)),
    )


def _addresses(workers: Sequence[Worker]) -> list[str]:
    return [worker.address for worker in workers]


def _surveyed(worker: Worker, answer: object, own: WorkerFacts, backend: str) -> Surveyed:
    if not isinstance(answer, WorkerFacts):
        return Surveyed(worker, None, no_answer(answer))
    problem = refusal(answer, own, backend) or lacks_memory(worker)
    # The facts of another version may lack fields.
    is_known = answer.code_version == own.code_version
    named = replace(worker, host=answer.host) if is_known else worker
    return Surveyed(named, answer if is_known else None, problem)


def _calibrated(client: Client, request: Request, results: list[Surveyed]) -> list[Surveyed]:
    """The same with the rates of their machines."""
    known = [each for each in results if each.facts is not None]
    first = {each.worker.host: each for each in known}
    others = [each for each in known if each not in first.values()]
    rates: dict[str, WorkerFacts] = {}
    # One worker of each machine measures: several at once would take the cores from each other.
    for group in (list(first.values()), others):
        addresses = _addresses([each.worker for each in group])
        arguments = (request.backend, request.device)
        answers = ask(client, addresses, rated_facts, *arguments, timeout=_CALIBRATION)
        rates |= {a: facts for a, facts in answers.items() if isinstance(facts, WorkerFacts)}
    return [replace(each, facts=rates.get(each.worker.address, each.facts)) for each in results]


async def rated_facts(backend: str, device: str) -> WorkerFacts:
    """`gather_facts` with rates, beside what the worker does otherwise."""
    return await asyncio.to_thread(gather_facts, backend, device, True)


def _compared(
    client: Client, request: Request, checkpoint: Checkpoint, results: list[Surveyed]
) -> list[Surveyed]:
    """The same, with a problem for each worker that has another copy of the model."""
    model = copied_model(checkpoint, request.model_paths)
    fit = [each.worker for each in results if each.problem is None]
    own = copy_digest(checkpoint, request.full_hash)
    # No time limit: hashing a large model takes minutes, and frozen workers are known by now.
    names = {worker.address: (worker.host, worker.name) for worker in fit}
    answers = ask(client, list(names), digest_there, model, names, request.full_hash, timeout=None)
    name = checkpoint.files.model_id

    def problem(worker: Worker) -> tuple[str, str] | None:
        answer = answers[worker.address]
        if isinstance(answer, CopyDigest):
            what = difference(own, answer)
            return None if what is None else other_copy(name, what, model.option)
        return answer if isinstance(answer, tuple) else no_answer(answer)

    return [
        replace(each, problem=problem(each.worker)) if each.worker.address in names else each
        for each in results
    ]


async def digest_there(
    model: CopiedModel, names: dict[str, tuple[str, str]], full: bool, dask_worker: Any
) -> CopyDigest | tuple[str, str]:
    """The digest of a worker's copy, or fact and remedy if it cannot open one.

    Args:
        model: How it finds its copy.
        names: Host and name of each worker, by its address.
        full: Whether to hash all of it.
        dask_worker: The worker that calls this; Dask puts it in.
    """

    def digest() -> CopyDigest | tuple[str, str]:
        try:
            with model.open(*names[dask_worker.address]) as checkpoint:
                return copy_digest(checkpoint, full)
        except ProbeError as error:
            return error.fact, error.remedy

    return await asyncio.to_thread(digest)
