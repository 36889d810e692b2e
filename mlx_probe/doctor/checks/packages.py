"""Are the packages that mlx-probe needs installed?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """Every required package is installed in a version that fits."""
    if not facts.requirements:
        yield "error", "mlx-probe's own metadata is not there", "Install it: pip install mlx-probe"
        return
    lacking = [requirement for requirement in facts.requirements if not requirement.fits]
    for requirement in lacking:
        asked = f"{requirement.name}{requirement.asked}"
        there = "it is not installed" if requirement.installed is None else requirement.installed
        fact = f"{requirement.by} needs {asked}: {there}"
        yield "error", fact, f"Install it: pip install '{asked}'"
    if not lacking:
        names = {requirement.name for requirement in facts.requirements}
        yield ok(f"{len(names)} packages that mlx-probe needs, all in versions that will do")
