"""Do the optional programs and packages work?"""

from __future__ import annotations

from collections.abc import Iterator

from mlx_probe.doctor.checks.finding import Verdict, ok
from mlx_probe.doctor.facts import Facts, Tool

__all__ = ["check"]


def check(facts: Facts) -> Iterator[Verdict]:
    """Optional programs and packages work, if they are installed."""
    for tool in facts.tools:
        yield _check_tool(tool, facts)


def _check_tool(tool: Tool, facts: Facts) -> Verdict:
    known = ", ".join(filter(None, (tool.found, tool.detail)))
    fact = f"{tool.name} {known}" if known else f"{tool.name} not found"
    if tool.problem:
        remedy = f"Repair or remove {tool.name}; mlx-probe can do without"
        return "warning", f"{fact}: {tool.problem}", remedy
    if tool.name == "torch" and tool.found and facts.system.is_apple and "mps" not in tool.detail:
        remedy = "Install torch for arm64 and macOS 12.3 or later; it is for comparisons only"
        return "warning", f"{fact}: without MPS", remedy
    return ok(f"{fact}" if tool.found or tool.detail else f"{fact} (optional)")
