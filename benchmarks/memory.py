"""Whether an analysis keeps to its --memory-limit, by the system's account.

    python benchmarks/memory.py [--size 2GB] [--limit 600MB] [--workers 2] [--backend numpy]
                                [--scale 1]

Writes a checkpoint of bfloat16 and float32 matrices as large models have them (an embedding,
square, tall and wide projections, experts), analyses it in a process of its own, and prints the
highest resident memory beside the limit. Exit code 1 if that is above it. ``--scale 8`` divides
every side by 8.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from _checkpoints import Shape, nbytes, write_gaussian
from _processes import PROBE, run
from _results import out_option, publish, rounded

import mlx_probe
from mlx_probe.cli.options import SIZE
from mlx_probe.compute.backends import BACKENDS

# Name, type, shape; the last kind is repeated until the size is reached.
MATRICES = (
    ("model.embed_tokens.weight", "BF16", (65536, 2048)),
    ("model.layers.0.self_attn.q_proj.weight", "F32", (4096, 4096)),
    ("model.layers.0.self_attn.o_proj.weight", "BF16", (4096, 4096)),
    ("model.layers.0.mlp.up_proj.weight", "BF16", (14336, 4096)),
    ("model.layers.0.mlp.down_proj.weight", "BF16", (4096, 14336)),
    ("model.layers.{}.mlp.gate_proj.weight", "BF16", (8192, 2048)),
)
COLUMNS = ("checkpoint GB", "matrices", "backend", "workers", "limit MB", "peak MB", "seconds")


def checkpoint_of(size: int, scale: int) -> dict[str, tuple[str, Shape]]:
    """Matrices of about ``size`` bytes."""
    matrices: dict[str, tuple[str, Shape]] = {}
    while sum(nbytes(*matrix) for matrix in matrices.values()) < size:
        name, dtype, (rows, cols) = MATRICES[min(len(matrices), len(MATRICES) - 1)]
        matrices[name.format(len(matrices))] = dtype, (rows // scale, cols // scale)
    return matrices


@click.command()
@click.option("--size", type=SIZE, default="2GB", show_default=True)
@click.option("--limit", type=SIZE, default="600MB", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="numpy", show_default=True)
@click.option("--scale", default=1, show_default=True, help="Divide every side by this.")
@out_option
def main(size: int, limit: int, workers: int, backend: str, scale: int, out: Path) -> None:
    """Analyse a checkpoint under a memory limit; exit code 1 if it takes more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_gaussian(path, checkpoint_of(size, scale))
        options = ["--memory-limit", limit, "--workers", workers, "--backend", backend]
        seconds, peak, _ = run([PROBE, "analyze", path, *options, "--out", f"{folder}/run"])
        frame = mlx_probe.load_run(Path(folder) / "run")
        gigabytes = path.stat().st_size / 1e9
    assert (frame["status"] == "ok").all()
    row = (rounded(gigabytes), len(frame), backend, workers, rounded(limit / 1e6), rounded(peak))
    note = "Peak: highest resident memory of the process, by the system's account."
    publish("memory", COLUMNS, [(*row, rounded(seconds))], note, out)
    sys.exit(peak * 1e6 > limit)


if __name__ == "__main__":
    main()
