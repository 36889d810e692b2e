"""Is MLX's linear algebra on the CPU fast?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """A float32 product of MLX on the CPU is not far slower than numpy's."""
    blas = facts.blas
    if blas.mlx_rate is None:
        return
    rates = (
        f"{blas.mlx_rate / 1e9:.1f} GFLOP/s on one core (float32 product, CPU), "
        f"numpy {blas.single_rate / 1e9:.1f}"
    )
    if not blas.mlx_is_slow:
        calls = f"calls {blas.mlx_library}" if blas.mlx_library else "has a tuned BLAS"
        yield ok(f"MLX {calls}: {rates}")
    elif blas.mlx_library:
        yield (
            "warning",
            f"MLX calls {blas.mlx_library}, which is slow: {rates}",
            "Run mlx-probe doctor again while nothing else runs, or set MLX_PROBE_MLX_BLAS to "
            "another library",
        )
    elif facts.system.system == "Linux":
        yield (
            "warning",
            f"MLX calls the slow reference BLAS of its wheel: {rates}",
            "For --backend mlx without a GPU: apt install libopenblas0-pthread, or pip install "
            "mkl on x86-64; mlx-probe uses either, unless MLX_PROBE_MLX_BLAS is 0",
        )
    else:
        yield (
            "warning",
            f"MLX's products are slow: {rates}",
            "Run mlx-probe doctor again while nothing else runs, and update MLX",
        )
