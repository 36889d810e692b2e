"""The plan of running a model, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import grid, short_count

__all__ = ["run_plan_text"]


def run_plan_text(plan: Mapping[str, Any]) -> RenderableType:
    """Facts, a table of widths, a table of contexts, and what to do.

    Args:
        plan: The document of `mlx-probe plan run MODEL --json`.
    """
    after = {
        tr("unknown"): "\n".join(map(translated, plan["unknown"])),
        tr("advice"): "\n".join(
            f"{number}. {translated(line)}" for number, line in enumerate(plan["advice"], 1)
        ),
    }
    return Group(
        grid(_facts(plan)),
        _table(
            (
                tr("bits"),
                tr("weights"),
                tr("read/token"),
                "GB/s",
                tr("longest"),
                tr("rounding error"),
            ),
            [_width(width) for width in plan["widths"]],
        ),
        _table(
            (tr("bits"), tr("context"), tr("cache"), tr("together"), tr("fits"), tr("tokens/s")),
            [_option(option) for option in plan["options"]],
        ),
        grid({name: text for name, text in after.items() if text}),
    )


def _facts(plan: Mapping[str, Any]) -> dict[str, str]:
    model, quality, experts = plan["model"], plan["quality"], plan["experts"]
    stored = format_size(model["bytes"])
    if model["packed"]:
        stored = tr("{size} as {packing}", size=stored, packing=model["packed"])
    facts = {
        tr("model"): tr(
            "{model} at {revision}, {parameters} parameters, stored in {stored}",
            model=model["id"],
            revision=model["revision"],
            parameters=short_count(model["parameters"]),
            stored=stored,
        ),
        tr("experts"): tr("a token uses {active} of {of}", **experts)
        if experts and experts["active"]
        else "",
        tr("device"): plan["device"],
        tr("memory"): format_size(plan["memory"])
        + (tr(", as you said") if plan["memory_assumed"] else ""),
        tr("speed"): tr("of products with one vector, timed here")
        if plan["bandwidth_measured"]
        else tr("of the bandwidth that you named, all of it: an upper bound"),
        tr("rounding"): tr(
            "{rounded} of {of} matrices were rounded{sample}",
            rounded=quality["rounded"],
            of=quality["of"],
            sample=f" ({quality['sample']})" if quality["sample"] else "",
        )
        if quality["rounded"]
        else "",
        tr("trained on"): tr("contexts of {tokens} tokens", tokens=f"{plan['trained_context']:,}")
        if plan["trained_context"]
        else "",
    }
    return {name: text for name, text in facts.items() if text}


def _width(width: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(width["bits"]),
        format_size(width["weights"]),
        "-" if width["read"] is None else format_size(width["read"]),
        f"{width['bandwidth'] / 1e9:.1f}",
        "-" if width["longest"] is None else f"{width['longest']:,}",
        "-" if width["error"] is None else f"{width['error']:.2%}",
    )


def _option(option: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(option["bits"]),
        f"{option['context']:,}",
        "-" if option["cache"] is None else format_size(option["cache"]),
        "-" if option["total"] is None else format_size(option["total"]),
        {True: tr("yes"), False: tr("no"), None: "-"}[option["fits"]],
        "-" if option["tokens_per_second"] is None else f"{option['tokens_per_second']:.3g}",
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    return drawn
