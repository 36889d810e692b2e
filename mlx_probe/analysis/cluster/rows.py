"""The rows of a plan, measured by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from mlx_probe.analysis.cluster.analyze_session import (
    AnalyzeSetup,
    Measure,
    MeasureSide,
    content_of,
    numerics_of,
)
from mlx_probe.analysis.cluster.connection import connected
from mlx_probe.analysis.cluster.copied_model import copied_model
from mlx_probe.analysis.cluster.copies import copy_digest
from mlx_probe.analysis.cluster.dispatch import DEATHS, Dispatcher, Unit
from mlx_probe.analysis.cluster.fitness import unlike
from mlx_probe.analysis.cluster.fleet import Expected, Fleet
from mlx_probe.analysis.measure import Outcome
from mlx_probe.analysis.order import Task, work_of, work_order
from mlx_probe.analysis.rows import copied_row, row_of
from mlx_probe.analysis.side_tables import side_parts, tables_of
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import Row
from mlx_probe.runs.fingerprint import fingerprint_of

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.cluster.config import ClusterConfig
    from mlx_probe.analysis.config import AnalyzeConfig
    from mlx_probe.analysis.plan import Plan
    from mlx_probe.analysis.side_tables.side import SidePart, SideRow
    from mlx_probe.checkpoint import Weight
    from mlx_probe.runs.monitor import UsageMeter

__all__ = ["ClusterRun", "cluster_run", "units_of"]

# Seconds for the first worker to come.
_FIRST = 10.0

# Work (`work_of`) of a unit at least, where there are enough small weights: handing out a unit
# takes some milliseconds, this about a tenth of a second.
_TOGETHER = 2e9


class ClusterRun:
    """A plan and the fleet that measures it.

    Args:
        plan: The client's plan.
        fleet: The workers, which have opened their copies.
        config: The cluster.
    """

    def __init__(self, plan: Plan, fleet: Fleet, config: ClusterConfig) -> None:
        self._plan, self._fleet, self._config = plan, fleet, config
        own = numerics_of(plan)
        if all(member.opened.numerics == own for member in fleet.all):
            # Rows of a worker that comes later belong into the same journal.
            fleet.only = own

    @property
    def threads(self) -> int:
        """Weights in flight on all workers together."""
        return sum(member.worker.nthreads for member in self._fleet.members.values())

    @property
    def about(self) -> str:
        """One line for the log."""
        labels = ", ".join(member.worker.label for member in self._fleet.members.values())
        return f"cluster {self._config.address}: {labels}"

    @property
    def reason(self) -> str:
        """What computes, in one sentence."""
        facts = [member.opened.facts for member in self._fleet.all]
        hosts = ", ".join(sorted({each.host for each in facts}))
        backends = ", ".join(sorted({f"{each.backend}" for each in facts}))
        return f"{len(facts)} workers on {hosts}: {backends}"

    @property
    def fingerprint(self) -> str:
        """That of the plan, unless other machines compute other last digits."""
        if self._fleet.only is not None:
            return self._plan.fingerprint
        # Not which ones: workers come and go while the rows stay.
        return self._plan.fingerprint_with({"backend": "of each worker"})

    @property
    def unlike(self) -> list[str]:
        """How the workers differ without being refused."""
        return unlike([member.opened.facts for member in self._fleet.all])

    def rows(
        self,
        finished: Mapping[int, Row],
        meter: UsageMeter,
        on_start: Callable[[Weight], None],
        warn: Callable[[str], None],
    ) -> Iterator[list[Row]]:
        """Measure every weight of the plan that is not finished; see `analyze_rows`.

        Args:
            finished: Rows of an earlier process, by index.
            meter: Counts what the stages take on the workers.
            on_start: Called with each weight before a worker gets it.
            warn: Called with what happens to workers.

        Yields:
            Rows that a worker measured together. Copies of other weights come last.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        plan = self._plan
        copies = {i: of for i, of in plan.aliases.items() if i not in finished}
        wanted = set(copies.values())
        originals = {of: finished[of] for of in wanted if of in finished}

        def start(unit: Unit) -> None:
            on_start(plan.weights[unit.sizes[0]])

        units = units_of(plan, finished, self.threads)
        for unit, measured in self._results(units, meter, start, warn):
            if measured is None:
                rows = [row_of(plan, unit.sizes[0], Outcome("failed", _given_up(unit)))]
            else:
                rows = [self._as_here(row) for row in measured]
            originals.update((row.index, row) for row in rows if row.index in wanted)
            yield rows
        for index, of in copies.items():
            on_start(plan.weights[index])
            yield [copied_row(plan, index, originals[of])]

    def side_tables(self, meter: UsageMeter, warn: Callable[[str], None]) -> dict[str, pa.Table]:
        """The tables beside the rows; see `side_tables.side_tables`.

        A part is computed within the memory of its worker, and never with more than the client
        would have for it: its rows are those of a run on the client alone unless a worker has
        less memory than they take there.

        Args:
            meter: Counts what they take on the workers.
            warn: Called with what happens to workers.

        Raises:
            ClusterError: There is no worker, or one failed.
            Stopped: The monitor's gate is closed for good.
        """
        plan = self._plan
        parts = side_parts(plan, plan.budget)
        rows: dict[str, list[Sequence[SideRow]]] = {k: [()] * len(v) for k, v in parts.items()}
        for unit, made in self._results(_side_units(plan, parts), meter, lambda _: None, warn):
            key, number = unit.payload.key, unit.payload.number
            failed = parts[key][number].failed
            rows[key][number] = failed(_given_up(unit)) if made is None else made
        return tables_of({key: list(chain.from_iterable(each)) for key, each in rows.items()})

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

    def _as_here(self, row: Row) -> Row:
        """A worker's row with the path that the model has here."""
        files = self._plan.checkpoint.files
        here = {
            "model_path": str(files.path),
            "model_id": files.model_id,
            "revision": files.revision,
        }
        return replace(row, values={**row.values, **here})

    def _results(
        self,
        units: Sequence[Unit],
        meter: UsageMeter,
        on_start: Callable[[Unit], None],
        warn: Callable[[str], None],
    ) -> Iterator[tuple[Unit, Any]]:
        """Units with their results, None where one was given up; their cost is counted here."""
        dispatcher = Dispatcher(self._fleet, meter.gate, on_start, warn, self._config.timeout)
        for unit, done in dispatcher.results(units):
            for stage, work in done.stages.items() if done else ():
                meter.add(stage, work.seconds, work.bytes, work.flops)
            yield unit, done.result if done else None


def _given_up(unit: Unit) -> str:
    """Why a unit has no result."""
    return (
        f"{DEATHS} workers died while they measured it: {', '.join(unit.deaths)}; "
        "their logs say why"
    )


@contextmanager
def cluster_run(plan: Plan, asked: AnalyzeConfig, config: ClusterConfig) -> Iterator[ClusterRun]:
    """Let the workers of a cluster open their copies of a plan's model.

    Args:
        plan: The client's plan.
        asked: The configuration before automatic choices were made.
        config: The cluster.

    Raises:
        ConfigError: Dask is not installed, or a number of workers is asked for.
        ClusterError: The scheduler does not answer, or workers may not take part.
        CheckpointError: A file of the model cannot be read.
    """
    if asked.workers:
        raise ConfigError(
            f"workers cannot be {asked.workers} on a cluster",
            "Leave --workers out: each worker of a cluster has its own number of threads",
        )
    checkpoint = plan.checkpoint
    setup = AnalyzeSetup(
        token=fingerprint_of(
            {
                "plan": plan.fingerprint,
                # Decides what side tables leave out.
                "budget": plan.budget,
                "paths": config.model_paths,
                "full": config.full_hash,
            }
        ),
        model=copied_model(checkpoint, config.model_paths),
        config=asked,
        budget=plan.budget,
        solvers=plan.solvers,
        numerics=numerics_of(plan),
        full_hash=config.full_hash,
    )
    expected = Expected(
        models=(checkpoint.files.model_id,),
        copies=(copy_digest(checkpoint, config.full_hash),),
        content=content_of(plan.weights),
        backend=asked.backend,
        labels=lambda index: plan.weights[index].label,
        needed=list(chain.from_iterable(chain.from_iterable(t for t, _ in work_order(plan, ())))),
    )
    with ExitStack() as stack:
        connection = stack.enter_context(connected(config, plan.budget))
        fleet = Fleet(connection, setup, expected)
        stack.callback(fleet.close)
        fleet.enlist(_FIRST)
        yield ClusterRun(plan, fleet, config)


def units_of(plan: Plan, finished: Mapping[int, Row], threads: int) -> list[Unit]:
    """The rest of a plan as units, the longest first.

    Args:
        plan: The plan.
        finished: Rows of finished weights, by position.
        threads: Tasks that all workers run at once.
    """
    tasks = _together(plan, [task for task, _ in work_order(plan, finished)], threads)
    indices = [tuple(chain.from_iterable(task)) for task in tasks]
    # Each prefetches what comes after all workers have taken another unit.
    following = [*indices[threads:], *((),) * min(threads, len(tasks))]
    return [
        _unit(plan, task, within, after)
        for task, within, after in zip(tasks, indices, following, strict=True)
    ]


def _unit(plan: Plan, task: Task, indices: tuple[int, ...], following: tuple[int, ...]) -> Unit:
    several = len(indices) > 1
    return Unit(
        payload=Measure(task, following),
        name=plan.weights[indices[0]].label + (f" and {len(indices) - 1} more" if several else ""),
        sizes=indices,
        rows=len(indices),
        work=sum(work_of(plan.weights[index]) for index in indices),
        parts=tuple(_unit(plan, ((i,),), (i,), ()) for i in indices) if several else (),
    )


def _side_units(plan: Plan, parts: Mapping[str, Sequence[SidePart]]) -> list[Unit]:
    """The parts of the side tables as units, the longest first."""
    numbered = [(key, *each) for key, side in parts.items() for each in enumerate(side)]
    # The sizes of parts come after those of the weights.
    units = [
        Unit(MeasureSide(key, number), part.name, sizes=(size,), work=part.work)
        for size, (key, number, part) in enumerate(numbered, start=len(plan.weights))
    ]
    return sorted(units, key=lambda unit: -unit.work)


def _together(plan: Plan, tasks: Sequence[Task], threads: int) -> list[Task]:
    """Small tasks in a row as one, unless a worker would have nothing to do then."""
    total = sum(work_of(plan.weights[i]) for task in tasks for batch in task for i in batch)
    least = min(_TOGETHER, total / max(8 * threads, 1))
    joined: list[Task] = []
    work = least
    for task in tasks:
        if work >= least:
            joined.append(())
            work = 0.0
        joined[-1] += task
        work += sum(work_of(plan.weights[i]) for batch in task for i in batch)
    return joined
