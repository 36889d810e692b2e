"""Is numpy's linear algebra fast?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]

# Flops a second. A tuned BLAS does more on one core of any machine of the last ten years.
SLOW_PRODUCT = 5e9


def check(facts: Facts) -> Iterator[Verdict]:
    """A float64 product of numpy runs at the speed of a tuned BLAS."""
    blas = facts.blas
    threads = "threads of its own choice" if blas.threads is None else f"{blas.threads} threads"
    fact = f"numpy calls {blas.library}, {threads}"
    if blas.double_rate is None:
        remedy = "Run mlx-probe doctor again while nothing else runs"
        yield "warning", f"{fact}; its speed could not be measured", remedy
        return
    fact += f"; {blas.double_rate / 1e9:.1f} GFLOP/s on one core (float64 product)"
    if blas.double_rate < SLOW_PRODUCT:
        remedy = (
            "Install numpy's own wheel, which has a tuned one: pip install --force-reinstall numpy"
        )
        yield "warning", f"{fact}: slow", remedy
    else:
        yield ok(fact)
