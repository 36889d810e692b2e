"""A plan of any job, and the workers of a cluster that measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.connection import connected
from mlx_probe.analysis.cluster.dispatch import DEATHS, Dispatcher, Unit
from mlx_probe.analysis.cluster.fitness import unlike
from mlx_probe.analysis.cluster.fleet import Expected, Fleet
from mlx_probe.analysis.cluster.measuring import Planned, numerics_of
from mlx_probe.core.errors import ConfigError
from mlx_probe.runs.fingerprint import fingerprint_of

if TYPE_CHECKING:
    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.cluster.session import Setup
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["ClusterRun", "given_up", "opened_fleet", "refuse_workers", "token_of"]

# Seconds for the first worker to come.
_FIRST = 10.0


class ClusterRun:
    """A plan and the fleet that measures it.

    Args:
        plan: The client's plan.
        fleet: The workers, which have opened their copies.
        config: The cluster.
    """

    def __init__(self, plan: Planned, fleet: Fleet, config: ClusterConfig) -> None:
        self._planned, self._fleet, self._config = plan, fleet, config
        own = numerics_of(plan)
        if all(member.opened.numerics == own for member in fleet.all):
            # Rows of a worker that comes later belong into the same journal.
            fleet.only = own

    @property
    def threads(self) -> int:
        """Weights in flight on all workers together."""
        return sum(member.worker.nthreads for member in self._fleet.members.values())

    @property
    def one_host(self) -> bool:
        """Whether all workers are on one machine."""
        return len({member.opened.facts.host for member in self._fleet.members.values()}) == 1

    @property
    def about(self) -> tuple[str, ...]:
        """Lines for the log: who takes part, and how they differ."""
        labels = ", ".join(member.worker.label for member in self._fleet.members.values())
        return f"cluster {self._config.address}: {labels}", *self.unlike

    @property
    def reason(self) -> str:
        """What computes, in one sentence."""
        there = [member for member in self._fleet.all if member.rows or not member.left]
        facts = [member.opened.facts for member in there]
        hosts = ", ".join(sorted({each.host for each in facts}))
        backends = ", ".join(sorted({f"{each.backend}" for each in facts}))
        return f"{len(facts)} workers on {hosts}: {backends}"

    @property
    def fingerprint(self) -> str:
        """That of the plan, unless other machines compute other last digits."""
        if self._fleet.only is not None:
            return self._planned.fingerprint
        # Not which ones: workers come and go while the rows stay.
        return self._planned.fingerprint_with({"backend": "of each worker"})

    @property
    def unlike(self) -> list[str]:
        """How the workers differ without being refused."""
        return unlike([member.opened.facts for member in self._fleet.all])

    def describe(self) -> dict[str, Any]:
        """For the metadata of the run."""
        facts = [member.opened.facts for member in self._fleet.all]
        return {
            "backend": ", ".join(sorted({f"{each.backend}" for each in facts})),
            "device": ", ".join(sorted({f"{each.device}" for each in facts})),
            "backend_reason": self.reason,
            "cluster": {"address": self._config.address, "unlike": self.unlike},
            "workers": [member.describe() for member in self._fleet.all],
        }

    def results(
        self,
        units: Sequence[Unit],
        meter: UsageMeter,
        on_start: Callable[[Unit], None],
        warn: Callable[[str], None],
    ) -> Iterator[tuple[Unit, Any]]:
        """Do units on the workers.

        Args:
            units: The longest first.
            meter: Counts what the stages take on the workers.
            on_start: Called with each unit before a worker gets it.
            warn: Called with what happens to workers.

        Yields:
            Units with their results, None where one was given up.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        dispatcher = Dispatcher(self._fleet, meter.gate, on_start, warn, self._config.timeout)
        for unit, done in dispatcher.results(units):
            for stage, work in done.stages.items() if done else ():
                meter.add(stage, work.seconds, work.bytes, work.flops)
            yield unit, done.result if done else None


def given_up(unit: Unit) -> str:
    """Why a unit has no result."""
    return (
        f"{DEATHS} workers died while they measured it: {', '.join(unit.deaths)}; "
        "their logs say why"
    )


def token_of(plan: Planned, budget: int, config: ClusterConfig) -> str:
    """What tells a job's sessions on the workers from those of others.

    Args:
        plan: The client's plan.
        budget: Its memory: it decides what side tables leave out.
        config: The cluster.
    """
    paths = [config.model_paths, config.other_model_paths]
    return fingerprint_of(
        {"plan": plan.fingerprint, "budget": budget, "paths": paths, "full": config.full_hash}
    )


def refuse_workers(workers: int) -> None:
    """Refuse a number of matrices in flight: each worker of a cluster has its own.

    Raises:
        ConfigError: It is not 0.
    """
    if workers:
        raise ConfigError(
            f"workers cannot be {workers} on a cluster",
            "Leave --workers out: each worker of a cluster has its own number of threads",
        )


@contextmanager
def opened_fleet(
    setup: Setup, expected: Expected, config: ClusterConfig, memory: int
) -> Iterator[Fleet]:
    """The workers of a cluster, with their copies of the models opened.

    Args:
        setup: What each needs.
        expected: What each has to have.
        config: The cluster.
        memory: Bytes for all workers of ``local:N`` together.

    Raises:
        ConfigError: Dask is not installed.
        ClusterError: The scheduler does not answer, or workers may not take part.
    """
    with connected(config, memory) as connection:
        fleet = Fleet(connection, setup, expected)
        try:
            fleet.enlist(_FIRST)
            yield fleet
        finally:
            fleet.close()
