"""Are the compiled kernels used?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """Every library of compiled kernels is used; numpy and LAPACK are slower."""
    used = [kernel.name for kernel in facts.kernels if not kernel.reason]
    if used:
        yield ok(f"compiled kernels are used: {', '.join(used)}")
    for kernel in facts.kernels:
        if kernel.reason:
            fact = f"{kernel.name}: {kernel.reason}; numpy and LAPACK compute instead, more slowly"
            yield "warning", fact, kernel.remedy
