"""The plan of a training run, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import grid, short_count

__all__ = ["training_plan_text"]


def training_plan_text(plan: Mapping[str, Any]) -> RenderableType:
    """The facts of a plan, and what to change.

    Args:
        plan: The document of `mlx-probe plan train CONFIG --json`.
    """
    memory = plan["memory"]
    lines = {
        tr("model"): tr(
            "{family}, {parameters} parameters, {matrices} of them in products for each token",
            family=plan["family"],
            parameters=f"{plan['parameters']:,}",
            matrices=f"{plan['matrix_parameters']:,}",
        ),
        tr("training"): tr(
            "{steps} steps of {each} tokens: {tokens} tokens",
            steps=f"{plan['steps']:,}",
            each=f"{plan['tokens_per_step']:,}",
            tokens=short_count(plan["tokens"]),
        ),
        tr("arithmetic"): tr(
            "{each} FLOPs a token, {total} FLOPs in all (6 N + 12 L d T)",
            each=short_count(plan["flops_per_token"]),
            total=f"{plan['flops']:.3g}",
        ),
        tr("memory"): tr(
            "{total} of {available}: weights {weights}, gradients {gradients}, optimizer "
            "{optimizer}, activations about {activations}",
            total=format_size(memory["total"]),
            available=format_size(plan["available"]),
            **{
                name: format_size(memory[name])
                for name in ("weights", "gradients", "optimizer", "activations")
            },
        ),
        tr("device"): _device(plan),
        tr("time"): _time(plan),
    }
    if plan["warnings"]:
        lines[tr("warnings")] = "\n".join(plan["warnings"])
    return Group(grid(lines))


def _device(plan: Mapping[str, Any]) -> str:
    rate = tr(
        "{device}: {rate} GFLOP/s in products of the model's sizes, measured now",
        device=plan["device"],
        rate=f"{plan['product_rate'] / 1e9:,.3g}",
    )
    return f"{rate}\n{plan['blas']}" if plan["blas"] else rate


def _time(plan: Mapping[str, Any]) -> str:
    """The expected time, what it assumes, and the bound below it."""
    least = _duration(plan["least_seconds"])
    if plan["efficiency"] == 1:
        return tr(
            "at least {least}, if there were nothing but products; what share of their rate whole "
            "steps reach on a GPU was not measured",
            least=least,
        )
    return tr(
        "about {seconds} for the steps, assuming that whole steps reach {share} of that rate; at "
        "least {least}, if there were nothing but products; tokenizing, evaluations, samples and "
        "snapshots come on top",
        seconds=_duration(plan["seconds"]),
        share=f"{plan['efficiency']:.0%}",
        least=least,
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
