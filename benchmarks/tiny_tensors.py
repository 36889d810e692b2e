"""What a tensor costs beside its arithmetic: a checkpoint of many tiny ones.

    python benchmarks/tiny_tensors.py [--tensors 100000]

Writes a float32 checkpoint of norms of 16 elements and matrices of 8 x 8, half of each, analyses
it in a process of its own, and prints milliseconds for each tensor and the highest resident
memory. Exit code 1 above 1 ms each or 300 MB, the limits for 100,000 tensors.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
from _checkpoints import Shape, write_gaussian
from _processes import PROBE, run
from _results import out_option, publish, rounded

import mlx_probe

LIMIT_MS, LIMIT_MB = 1.0, 300.0
COLUMNS = ("tensors", "seconds", "ms each", "limit ms", "peak MB", "limit MB")


@click.command()
@click.option("--tensors", default=100_000, show_default=True)
@out_option
def main(tensors: int, out: Path) -> None:
    """Analyse a checkpoint of many tiny tensors; exit code 1 if it takes more than the limits."""
    matrices: dict[str, tuple[str, Shape]] = {
        f"model.layers.{i // 2}.{'mlp.up_proj' if i % 2 else 'norm'}.weight": (
            "F32",
            (8, 8) if i % 2 else (16,),
        )
        for i in range(tensors)
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_gaussian(path, matrices)
        seconds, peak, _ = run([PROBE, "analyze", path, "--quiet", "--out", f"{folder}/run"])
        statuses = set(mlx_probe.load_run(Path(folder) / "run")["status"])
    assert statuses == {"ok"}
    each = 1000 * seconds / tensors
    row = (tensors, rounded(seconds), rounded(each), LIMIT_MS, rounded(peak), LIMIT_MB)
    note = (
        "Half are vectors of 16, half matrices of 8 x 8, with all columns of the standard set. "
        "Seconds from the command to its end."
    )
    publish("tiny_tensors", COLUMNS, [row], note, out)
    sys.exit(each > LIMIT_MS or peak > LIMIT_MB)


if __name__ == "__main__":
    main()
