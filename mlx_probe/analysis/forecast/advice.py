"""What to change so that an analysis fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlx_probe.analysis.budget import sufficient
from mlx_probe.analysis.working_set import is_sketched, working_set
from mlx_probe.core.units import format_size

if TYPE_CHECKING:
    from mlx_probe.analysis.forecast.memory import Memory
    from mlx_probe.analysis.plan import Plan

__all__ = ["advice_for"]


def advice_for(
    plan: Plan, memory: Memory, fetch_bytes: int, free: int | None, device_limit: int | None
) -> tuple[str, ...]:
    """Changes that make an analysis fit, as imperative sentences; none if it fits already.

    Args:
        plan: The plan.
        memory: Its memory.
        fetch_bytes: Bytes to download.
        free: Free bytes on the disk for them; None if unknown.
        device_limit: Bytes that the device should hold at most; None if unknown.
    """
    advice = []
    if not memory.fits:
        advice.append(
            f"Set --memory-limit to at least {sufficient(memory.least)}: "
            f"{memory.largest} alone takes that much with the process itself"
        )
        advice += _smaller(plan, memory)
    if device_limit is not None and memory.in_flight > device_limit:
        advice.append(
            f"Use fewer --workers: {format_size(memory.in_flight)} in flight, "
            f"the device should hold {format_size(device_limit)}"
        )
    if free is not None and fetch_bytes > free:
        advice.append(
            f"Free {format_size(fetch_bytes - free)} more, or set HF_HOME to a folder on a larger "
            "disk"
        )
    return tuple(advice)


def _smaller(plan: Plan, memory: Memory) -> list[str]:
    """Ways to stay below the limit; each is enough alone."""
    process = memory.least - max(plan.sizes)
    too_large = [
        weight.name
        for i, (weight, size) in enumerate(zip(plan.weights, plan.sizes, strict=True))
        if i not in plan.unsampled and process + size > memory.limit
    ]
    names = sorted(set(too_large))
    if len(names) == len({weight.name for weight in plan.sampled}):
        return ["Use a machine with more memory: no weight fits"]
    listed = " ".join(f"--exclude {name!r}" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    ways = [f"Or leave out what does not fit: {listed}{more}"]
    if plan.config.spectrum == "exact" and _sketches_fit(plan, memory, process):
        ways.append("Or preview the large ones with --spectrum approx")
    return ways


def _sketches_fit(plan: Plan, memory: Memory, process: int) -> bool:
    config = replace(plan.config, spectrum="approx")
    sizes = [working_set(weight, plan.backend, config) for weight in plan.sampled]
    sketched = any(is_sketched(weight, config) for weight in plan.sampled)
    return sketched and process + max(sizes) <= memory.limit
