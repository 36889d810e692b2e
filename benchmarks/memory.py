"""Whether an analysis keeps to its --memory-limit, by the operating system's account.

    python benchmarks/memory.py [--size 2GB] [--limit 600MB] [--workers 2] [--backend numpy]

Writes a checkpoint of bfloat16 and float32 matrices as large models have them (an embedding,
square, tall and wide projections, experts), analyses it in a process of its own, and prints the
highest resident memory beside the limit. Leaves nothing behind.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import click
import numpy as np
from whole_run import run

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


def write_bfloat16(path: Path, shapes: Mapping[str, tuple[int, int]]) -> None:
    """A safetensors file of Gaussian bfloat16 matrices."""
    write_gaussian(path, {name: ("BF16", shape) for name, shape in shapes.items()})


def write_gaussian(path: Path, matrices: Mapping[str, tuple[str, tuple[int, int]]]) -> None:
    """A safetensors file of Gaussian matrices of type BF16 or F32, a few rows at a time."""
    entries: dict[str, dict[str, object]] = {}
    end = 0
    for name, (dtype, shape) in matrices.items():
        begin, end = end, end + nbytes(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for dtype, (rows, cols) in matrices.values():
            for first in range(0, rows, 1024):
                x = 0.02 * rng.standard_normal((min(1024, rows - first), cols), np.float32)
                # bfloat16 is the upper half of float32.
                file.write(x if dtype == "F32" else (x.view(np.uint32) >> 16).astype(np.uint16))


def nbytes(dtype: str, shape: tuple[int, int]) -> int:
    """Bytes of a stored matrix."""
    return shape[0] * shape[1] * (4 if dtype == "F32" else 2)


def checkpoint_of(size: int) -> dict[str, tuple[str, tuple[int, int]]]:
    """Matrices of about ``size`` bytes."""
    matrices: dict[str, tuple[str, tuple[int, int]]] = {}
    while sum(nbytes(*matrix) for matrix in matrices.values()) < size:
        name, dtype, shape = MATRICES[min(len(matrices), len(MATRICES) - 1)]
        matrices[name.format(len(matrices))] = dtype, shape
    return matrices


@click.command()
@click.option("--size", type=SIZE, default="2GB", show_default=True)
@click.option("--limit", type=SIZE, default="600MB", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="numpy", show_default=True)
def main(size: int, limit: int, workers: int, backend: str) -> None:
    """Analyse a checkpoint under a memory limit; exit code 1 if it takes more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_gaussian(path, checkpoint_of(size))
        command = [str(Path(sys.executable).with_name("mlx-probe")), "analyze", str(path)]
        command += ["--memory-limit", str(limit), "--workers", str(workers)]
        seconds, peak = run([*command, "--backend", backend, "--out", f"{folder}/run"])
        frame = mlx_probe.load_run(Path(folder) / "run")
        assert (frame["status"] == "ok").all()
        print(
            f"{date.today()}, {path.stat().st_size / 1e9:.2f} GB in {len(frame)} matrices, "
            f"{backend}, {workers} workers: peak {peak:.0f} MB, limit {limit / 1e6:.0f} MB, "
            f"{seconds:.1f} s"
        )
        sys.exit(peak * 1e6 > limit)


if __name__ == "__main__":
    main()
