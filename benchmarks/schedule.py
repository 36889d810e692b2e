"""The schedule of whole runs, simulated: on this machine, on one M3 Ultra, and on four.

    python benchmarks/schedule.py [--model NAME] [--processes N] [--write-report]

Plans are made of sparse checkpoints with the headers of large models, by the MLX backend for an
M3 Ultra. A discrete-event simulation (`_simulation.py`) takes their tasks, in the order and with
the memory that a run would have, with the unit costs that `unit_costs.py` left in the results and
for machines that are assumed (`_m3_ultra.py`). ``--write-report`` writes scaling.md.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import click
from _architectures import ARCHITECTURES, write_sparse
from _costs import Costs, costs_from
from _demands import NOW, Changes, Job, here, on_an_m3_ultra
from _m3_ultra import M3_ULTRA, REASONS, Assumed
from _results import RESULTS, Cell, out_option, publish, rounded
from _schedule_report import REPORT, RESOURCES, duration, report
from _simulation import Machine, Outcome

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.core.machine import usable_cores

MAIN_COLUMNS = (
    *("model", "machines", "tasks", "GB read", "time", "efficiency", "binds"),
    *(f"{name}, %" for name in (*RESOURCES, "client")),
    *("idle tail, s", "memory of tasks, GB"),
)
ASSUMED_COLUMNS = (
    *("assumed of an M3 Ultra", "value", "because"),
    *("one machine, if half", "if double", "four machines, if half", "double"),
)
MAIN_NOTE = (
    "This one: as measured. M3 Ultra: simulated from the assumptions of schedule_assumptions, "
    "nothing measured. Opening, start, validation and writing are included; copies are not looked "
    "for. Use: share of the run in which a resource works, of the busiest machine or process. "
    "Efficiency: of four machines, against one with a process for each worker."
)
ASSUMED_NOTE = (
    "Shares of a core (when all are busy, lent) are not doubled but 1. Whatever is not here is "
    "counted from the code, or measured on this machine: unit_costs."
)
GAINS_NOTE = (
    "Time of the last model on one machine, and shares of the time that each change saves; the "
    "columns of other models are for one machine."
)
MACHINES = (
    "this one, numpy",
    "1 M3 Ultra, assumed",
    f"1 M3 Ultra, {M3_ULTRA.workers} processes, assumed",
    "4 M3 Ultras, assumed",
)
# Seconds of a message between processes of one machine.
LOCAL = 1e-3
# Bytes for runs on this machine.
HERE_LIMIT = 16_000_000_000

# What is changed, of the machine or of the engine.
GAINS: Mapping[str, tuple[Assumed, Changes]] = {
    "GPU: products twice as fast": (replace(M3_ULTRA, products=2 * M3_ULTRA.products), NOW),
    "GPU: memory twice as fast": (replace(M3_ULTRA, memory=2 * M3_ULTRA.memory), NOW),
    "GPU: operations start and end at once": (replace(M3_ULTRA, launch=0, waiting=0), NOW),
    "disk twice as fast": (replace(M3_ULTRA, disk=2 * M3_ULTRA.disk), NOW),
    "twice as many workers and cores": (
        replace(M3_ULTRA, workers=2 * M3_ULTRA.workers),
        NOW,
    ),
    "cores twice as fast": (replace(M3_ULTRA, core=2 * M3_ULTRA.core), NOW),
    "twice the memory": (replace(M3_ULTRA, memory_limit=2 * M3_ULTRA.memory_limit), NOW),
    "engine: elementwise GPU passes fused, a third of their bytes": (
        M3_ULTRA,
        Changes(fused=1 / 3),
    ),
    "engine: products widened and summed in one kernel": (M3_ULTRA, Changes(widened=8)),
    "engine: three digits for packed weights": (M3_ULTRA, Changes(digits=3)),
    "engine: FP8 decoded by the host (not on the GPU as now)": (
        M3_ULTRA,
        Changes(host_decodes=True),
    ),
    "a process for each worker (`--cluster local:N`)": (M3_ULTRA, replace(NOW, processes=True)),
    "engine: half of the Python of a weight": (replace(M3_ULTRA, bookkeeping=0.5), NOW),
}


class Model:
    """The sparse checkpoint of a large model, and its plans.

    Args:
        name: Key of `ARCHITECTURES`.
        root: Folder for the checkpoint.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        tensors, config = ARCHITECTURES[name]()
        self._files = mlx_probe.open_checkpoint(write_sparse(root / name, tensors, config))
        self._plans: dict[tuple[str, int, int], Plan] = {}

    def plan(self, backend: str, workers: int, limit: int) -> Plan:
        """A plan, without a look for copies: in a sparse file all are the same."""
        key = backend, workers, limit
        if key not in self._plans:
            config = AnalyzeConfig(
                backend=backend, device="cpu", workers=workers, memory_limit=limit
            )
            self._plans[key] = make_plan(self._files, config, only=lambda _: True)
        return self._plans[key]


def assumed_run(
    model: Model,
    costs: Costs,
    count: int,
    of: Assumed = M3_ULTRA,
    changes: Changes = NOW,
) -> Job:
    """A run of the MLX backend on M3 Ultras.

    Args:
        model: The model.
        costs: Unit costs of this machine.
        count: Machines; several are a cluster, in which each worker is a process.
        of: What is assumed of each.
        changes: What the engine does otherwise.
    """
    plan = model.plan("mlx", of.workers, of.memory_limit)
    threads = of.workers * count if changes.processes or count > 1 else 0
    machine = Machine(
        workers=of.workers,
        cores=of.workers,
        budget=plan.budget,
        disk=of.disk,
        lanes=plan.backend.lanes,
        together=of.together,
        lent=of.lent,
        processes=of.workers if threads else 1,
    )
    names = ("row", "row_after", "opened", "start", "finish")
    priced = replace(costs, **{name: getattr(costs, name) * of.bookkeeping for name in names})
    tasks = on_an_m3_ultra(plan, costs, of, changes, threads)
    return Job(tasks, [machine] * count, priced, of.latency if count > 1 else LOCAL)


def main_row(
    model: str, machines: str, job: Job, run: Outcome, alone: float | None
) -> tuple[Cell, ...]:
    """A line of the main table."""
    used = {name: max(each[name] for each in run.used) / run.seconds for name in RESOURCES}
    used["cores"] /= job.machines[0].cores
    used["client"] = run.client / run.seconds
    has_gpu = job.machines[0].lanes > 0
    # A lane that is held while the GPU works is not what binds.
    binding = max((name for name in used if name != "lane"), key=lambda name: used[name])
    if has_gpu and used["lane"] > used[binding] + 0.1:
        binding = "lane"
    shown = [
        None if not has_gpu and name in ("GPU", "lane", "disk") else rounded(100 * x, 2)
        for name, x in used.items()
    ]
    efficiency = None if alone is None else rounded(alone / run.seconds / len(job.machines), 2)
    read = rounded(run.read / 1e9) or None
    times = (duration(run.seconds), efficiency, binding)
    return (
        *(model, machines, len(job.tasks), read, *times, *shown),
        *(rounded(run.tail, 2), rounded(run.memory / 1e9, 2)),
    )


class Pool:
    """Simulations in processes of their own; with one, here.

    Args:
        processes: Their number.
    """

    def __init__(self, processes: int) -> None:
        spawn = get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, spawn) if processes > 1 else None

    def run(self, job: Job) -> Callable[[], Outcome]:
        """Begin a simulation; what is returned gives its outcome."""
        return self._pool.submit(Job.outcome, job).result if self._pool else job.outcome

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


def main_rows(models: Sequence[Model], costs: Costs, pool: Pool) -> list[tuple[Cell, ...]]:
    """Every model on this machine, on one M3 Ultra and on four."""
    rows: list[tuple[Cell, ...]] = []
    for model in models:
        jobs = [
            here(model.plan("numpy", usable_cores(), HERE_LIMIT), costs),
            assumed_run(model, costs, 1),
            assumed_run(model, costs, 1, changes=replace(NOW, processes=True)),
            assumed_run(model, costs, 4),
        ]
        runs = [each() for each in [pool.run(job) for job in jobs]]
        alone = (None, None, None, runs[2].seconds)
        rows += map(main_row, [model.name] * 4, MACHINES, jobs, runs, alone)
    return rows


def assumption_rows(model: Model, costs: Costs, pool: Pool) -> list[tuple[Cell, ...]]:
    """Every assumption, and a model's time if it is half or double."""
    asked: dict[str, list[Callable[[], Outcome]]] = {}
    for name in REASONS:
        value = getattr(M3_ULTRA, name)
        # A share of something cannot be more than all of it.
        values = [type(value)(value * factor) for factor in (0.5, 2)]
        if name in ("together", "lent"):
            values[1] = 1.0
        others = [replace(M3_ULTRA, **{name: changed}) for changed in values]
        jobs = [assumed_run(model, costs, count, of) for count in (1, 4) for of in others]
        asked[name] = [pool.run(job) for job in jobs]
    rows: list[tuple[Cell, ...]] = []
    for name, (title, unit, because) in REASONS.items():
        times = [duration(each().seconds) for each in asked[name]]
        rows.append((title, rounded(getattr(M3_ULTRA, name) / unit), because, *times))
    return rows


def gain_rows(models: Sequence[Model], costs: Costs, pool: Pool) -> list[tuple[Cell, ...]]:
    """Changes of the machine and of the engine, by what they gain for the last model."""
    last = models[-1]

    def runs(of: Assumed, changes: Changes) -> list[Callable[[], Outcome]]:
        one = [pool.run(assumed_run(model, costs, 1, of, changes)) for model in models]
        return [*one, pool.run(assumed_run(last, costs, 4, of, changes))]

    now = runs(M3_ULTRA, NOW)
    asked = {name: runs(*each) for name, each in GAINS.items()}
    before = [each().seconds for each in now]
    rows: list[tuple[float, tuple[Cell, ...]]] = []
    for name, futures in asked.items():
        after = [each().seconds for each in futures]
        gains = [rounded(100 * (1 - new / old), 2) for new, old in zip(after, before, strict=True)]
        *others, one, four = gains
        rows.append((one, (name, duration(after[-2]), one, four, *others)))
    return [row for _, row in sorted(rows, key=lambda each: -each[0])]


@click.command()
@click.option("--model", "names", multiple=True, type=click.Choice(list(ARCHITECTURES)))
@click.option("--processes", default=usable_cores(), show_default="one for each core")
@click.option("--write-report", is_flag=True, help=f"Write {REPORT.name} from the results.")
@out_option
def main(names: tuple[str, ...], processes: int, write_report: bool, out: Path) -> None:
    """Simulate whole runs from unit costs."""
    costs = costs_from(json.loads((RESULTS / "unit_costs.json").read_text("utf-8"))["rows"])
    with tempfile.TemporaryDirectory() as root, Pool(processes) as pool:
        models = [Model(name, Path(root)) for name in names or ARCHITECTURES]
        publish("schedule", MAIN_COLUMNS, main_rows(models, costs, pool), MAIN_NOTE, out)
        rows = assumption_rows(models[-1], costs, pool)
        publish("schedule_assumptions", ASSUMED_COLUMNS, rows, ASSUMED_NOTE, out)
        others = [f"{model.name}, %" for model in models[:-1]]
        columns = ("change", "time", "gain, %", "four machines, %", *others)
        publish("schedule_gains", columns, gain_rows(models, costs, pool), GAINS_NOTE, out)
    if write_report:
        REPORT.write_text(report(out), "utf-8")


if __name__ == "__main__":
    main()
