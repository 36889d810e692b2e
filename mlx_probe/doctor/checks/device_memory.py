"""How much memory may the GPU use?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.core.units import format_size
from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """The GPU may use at least half of the memory."""
    mlx, memory = facts.mlx, facts.system.memory
    if mlx is None or not mlx.gpu:
        return
    if mlx.working_set is None:
        yield (
            "warning",
            "MLX does not say how much memory its GPU should use",
            "Give analyze a --memory-limit, and update MLX: pip install --upgrade mlx",
        )
        return
    if not facts.system.is_apple:
        # The GPU has its own memory: the size of main memory says nothing about it.
        yield ok(f"{format_size(mlx.working_set)} on the GPU")
        return
    working_set, total = format_size(mlx.working_set), format_size(memory)
    fact = f"{working_set} recommended as working set, of {total} in all"
    if mlx.longest_buffer is not None:
        fact += f"; arrays of up to {format_size(mlx.longest_buffer)}"
    if mlx.working_set < memory / 2:
        # macOS gives two thirds to three quarters by default.
        megabytes = memory * 2 // 3 >> 20
        remedy = (
            f"Raise the limit until the next start: sudo sysctl iogpu.wired_limit_mb={megabytes}"
        )
        yield "warning", fact, remedy
    else:
        yield ok(fact)
