"""The workers of a cluster, as its scheduler knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MEMORY", "Worker", "workers_of"]

# The Dask resource that says how many bytes a worker's process may take in all.
MEMORY = "MEMORY"


@dataclass(frozen=True)
class Worker:
    """A worker process of a cluster.

    Attributes:
        name: What its operator called it; its address if it has no name.
        host: The machine: its address in the network, or its name where that is known.
        address: Where the scheduler reaches the worker.
        nthreads: Tasks that it runs at once.
        memory: Bytes that its process may take in all; None if it was not started with
            ``--resources MEMORY=...``.
        dask_limit: Bytes near which Dask itself pauses or ends the process; None for no limit.
    """

    name: str
    host: str
    address: str
    nthreads: int
    memory: int | None
    dask_limit: int | None = None

    @property
    def label(self) -> str:
        """What messages call it: "worker mac2 (studio-2, tcp://192.168.1.12:40331)"."""
        # The machine's address in the network is part of the worker's.
        hosts = [self.host] if self.host and self.host not in self.address else []
        if self.name == self.address:
            return " ".join(["worker", self.address, *(f"({host})" for host in hosts)])
        return f"worker {self.name} ({', '.join([*hosts, self.address])})"


def workers_of(info: Mapping[str, Any]) -> list[Worker]:
    """The workers that a scheduler knows, in the order in which they came.

    Args:
        info: ``client.scheduler_info(n_workers=-1)["workers"]``: what the scheduler knows of
            each worker, by address.
    """
    return [
        Worker(
            # A local cluster numbers its workers.
            name=str(known["name"]),
            host=str(known["host"]),
            address=address,
            nthreads=int(known["nthreads"]),
            memory=_memory(known.get("resources") or {}),
            dask_limit=known.get("memory_limit") or None,
        )
        for address, known in info.items()
    ]


def _memory(resources: Mapping[str, float]) -> int | None:
    return int(resources[MEMORY]) if MEMORY in resources else None
