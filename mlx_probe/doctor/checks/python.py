"""Is the interpreter one that mlx-probe can use?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts
from mlx_probe.doctor.packages import fits

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """The version is supported, and the interpreter is built for this processor."""
    system = facts.system
    fact = f"Python {system.python} for {system.machine}, {system.platform}"
    if not fits(system.python, system.requires_python):
        asked = system.requires_python
        yield "error", f"{fact}; mlx-probe needs {asked}", f"Make an environment of Python {asked}"
    elif system.is_apple and system.machine != "arm64":
        remedy = "Install Python for arm64: MLX and fast linear algebra exist only there"
        yield "error", f"{fact}, emulated on {system.cpu}", remedy
    else:
        yield ok(fact)
