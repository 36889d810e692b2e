"""Which workers may take part in an analysis, and how those that may are unlike each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mlx_probe.analysis.cluster.facts import WorkerFacts
from mlx_probe.analysis.cluster.workers import Worker
from mlx_probe.core.units import format_size

__all__ = ["cautions", "lacks_memory", "other_copy", "refusal", "unlike"]


def refusal(facts: WorkerFacts, own: WorkerFacts, wanted_backend: str) -> tuple[str, str] | None:
    """Why a worker may not take part.

    Args:
        facts: The worker's.
        own: Those of the process that asks, with its version of mlx-probe.
        wanted_backend: Key in `BACKENDS`, or "auto" for any.

    Returns:
        The fact, without the worker's name, and the remedy; None if it may.
    """
    # First: the facts of another version may lack what this one looks at.
    if facts.code_version != own.code_version:
        return (
            f"it has mlx-probe {facts.code_version}, and this machine {own.code_version}",
            f"Run `pip install mlx-probe=={own.code_version}` there, and start the worker again",
        )
    if facts.sources != own.sources:
        return (
            f"its mlx-probe {facts.code_version} was built from other sources than that of this "
            "machine",
            "Install the same build on both, and start the worker again",
        )
    if facts.backend is None:
        return facts.backend_reason, facts.backend_remedy
    if wanted_backend not in ("auto", facts.backend):
        return (
            f"it computes with {facts.backend}, not with {wanted_backend}",
            f"Install what {wanted_backend} needs there, or use --backend auto",
        )
    return None


def lacks_memory(worker: Worker) -> tuple[str, str] | None:
    """Fact and remedy if a worker does not say what memory it may take; None if it does."""
    if worker.memory:
        return None
    return (
        "it does not say how much memory it may take",
        'Start it with --resources "MEMORY=64e9": the bytes that its process may take',
    )


def other_copy(model: str, what: str, option: str) -> tuple[str, str]:
    """Fact and remedy for a worker with another copy.

    Args:
        model: Its name.
        what: From `difference`.
        option: The command line's, that says where workers have the model.
    """
    return (
        f"it reads another copy of {model}: {what}",
        f"Copy the model there again, or name the right copy with {option}",
    )


def cautions(workers: Sequence[Worker], facts: Sequence[WorkerFacts]) -> list[str]:
    """What is likely to go wrong although each worker by itself may take part.

    Args:
        workers: The workers that may.
        facts: Of each.

    Returns:
        A sentence for each worker that Dask would end before it has its memory, and for each
        machine whose workers together may take more than it has.
    """
    said = [
        f"{worker.label} gets no more than {format_size(worker.dask_limit)} from Dask, less than "
        f"its MEMORY of {format_size(worker.memory)}: start it with --memory-limit 0"
        for worker in workers
        # Dask pauses at four fifths of its limit.
        if worker.memory and worker.dask_limit and worker.memory > 0.8 * worker.dask_limit
    ]
    for host, machine in {each.host: each for each in facts}.items():
        there = [worker for worker, its in zip(workers, facts, strict=True) if its.host == host]
        memory = sum(worker.memory or 0 for worker in there)
        threads = sum(worker.nthreads for worker in there)
        if memory > machine.memory:
            said.append(
                f"workers on {host} may take {format_size(memory)} together, and it has "
                f"{format_size(machine.memory)}: lower their MEMORY"
            )
        if threads > machine.cores:
            said.append(
                f"workers on {host} have {threads} threads together, and it has "
                f"{machine.cores} cores: start fewer"
            )
    return said


def unlike(facts: Sequence[WorkerFacts]) -> list[str]:
    """What differs between workers that may take part.

    Rows of unlike workers agree within the bounds that mlx-probe states; the last bits of their
    numbers may differ.

    Args:
        facts: Of each worker.

    Returns:
        A sentence for each fact that differs, with its values and the hosts that have them.
    """
    seen = ((sentence, _by_value(facts, value)) for sentence, value in _COMPARED)
    return [sentence(_listed(hosts)) for sentence, hosts in seen if len(hosts) > 1]


def _by_value(
    facts: Iterable[WorkerFacts], value: Callable[[WorkerFacts], str]
) -> dict[str, list[str]]:
    """The hosts that have each value, each host once."""
    hosts: dict[str, list[str]] = {}
    for each in facts:
        having = hosts.setdefault(value(each), [])
        if each.host not in having:
            having.append(each.host)
    return hosts


def _listed(hosts: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value or '-'} ({', '.join(names)})" for value, names in hosts.items())


def _package(name: str) -> Callable[[WorkerFacts], str]:
    return lambda facts: facts.packages.get(name, "")


def _kernels(facts: WorkerFacts) -> str:
    return ", ".join(f"{name} {state}" for name, state in facts.kernels.items())


# Each fact by the sentence that says how it differs.
_COMPARED: tuple[tuple[Callable[[str], str], Callable[[WorkerFacts], str]], ...] = (
    (lambda values: f"backends differ: {values}", lambda facts: facts.backend or ""),
    (lambda values: f"processors differ: {values}", lambda facts: facts.cpu),
    (lambda values: f"compiled kernels differ: {values}", _kernels),
    (lambda values: f"linear algebra differs: {values}", lambda facts: facts.blas),
    (lambda values: f"versions of numpy differ: {values}", _package("numpy")),
    (lambda values: f"versions of MLX differ: {values}", _package("mlx")),
    (lambda values: f"versions of Python differ: {values}", lambda facts: facts.python),
    (lambda values: f"versions of Dask differ: {values}", lambda facts: facts.dask),
)
