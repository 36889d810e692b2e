"""A forecast as text for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.forecast.inference import STORED
from mlx_probe.analysis.side_tables import side_names
from mlx_probe.core.markdown import escaped, section, table
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import grid, printable, skipped_lines

if TYPE_CHECKING:
    from mlx_probe.analysis.forecast.records import Forecast

__all__ = ["forecast_markdown", "forecast_text"]

Rows = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]


def forecast_text(forecast: Forecast) -> RenderableType:
    """A forecast for a terminal."""
    parts: list[RenderableType] = [grid(_facts(forecast))]
    for header, rows in (_stages(forecast), _inference(forecast)):
        if rows:
            drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            for i, name in enumerate(header):
                drawn.add_column(name, justify="right" if i else "left", no_wrap=True)
            for row in rows:
                drawn.add_row(*map(printable, row))
            parts.append(drawn)
    return Group(*parts, grid(_verdict(forecast)))


def forecast_markdown(forecast: Forecast) -> str:
    """A forecast as a document."""
    parts = [f"# Plan: {escaped(forecast.goal)}"]
    for name, text in (_facts(forecast) | _verdict(forecast)).items():
        parts.append(section(name.capitalize(), _lines(text)))
    for name, (header, rows) in (
        ("Stages", _stages(forecast)),
        ("Memory of inference", _inference(forecast)),
    ):
        cells = [tuple(map(escaped, row)) for row in rows]
        parts.append(section(name, table(header, cells) if cells else ""))
    return "\n\n".join(part for part in parts if part) + "\n"


def _lines(text: str) -> str:
    lines = [escaped(line) for line in text.split("\n")]
    # Steps are numbered already.
    bare = len(lines) == 1 or lines[0].startswith("1. ")
    return "\n".join(lines if bare else (f"- {line}" for line in lines))


def _facts(forecast: Forecast) -> dict[str, str]:
    """Facts by name, as text; several lines are a list."""
    model, memory, fetch = forecast.model, forecast.memory, forecast.fetch
    limit = forecast.device_limit
    lines = {
        "goal": forecast.goal,
        "model": f"{model['id']} at {model['revision']} ({model['framework']}), "
        f"{model['parameters']:,} parameters",
        "inputs": "\n".join(forecast.inputs),
        "backend": forecast.backend,
        "steps": "\n".join(
            f"{n}. {step.what}; else: {step.fallback}" for n, step in enumerate(forecast.steps, 1)
        ),
        "outputs": "\n".join(forecast.outputs),
        "checks": "\n".join(forecast.checks),
        "log": forecast.log,
        "to fetch": f"{format_size(fetch.nbytes)} into {fetch.folder}" if fetch.nbytes else "",
        "free disk": f"{format_size(fetch.free)} there" if fetch.nbytes and fetch.free else "",
        "to read": format_size(forecast.read_bytes),
        "copies": f"{forecast.copies} weights with the bytes of another" if forecast.copies else "",
        "peak memory": f"{format_size(memory.peak)} ({format_size(memory.in_flight)} of it for "
        f"{forecast.configuration['workers']} weight(s) at once)",
        "memory limit": f"{format_size(memory.limit)}; at least {format_size(memory.least)} "
        f"for {memory.largest}",
        "device memory": f"{format_size(limit)} recommended" if limit else "",
        "estimated time": _time(forecast),
    }
    return {k: v for k, v in (lines | skipped_lines(forecast.unreadable, "weights")).items() if v}


def _verdict(forecast: Forecast) -> dict[str, str]:
    unknown = f"unknown: {forecast.cache_unknown}" if forecast.cache_unknown else ""
    none = f"none: {forecast.cache_none}" if forecast.cache_none else ""
    lines = {
        "cache": unknown or none if forecast.inference else "",
        "incomplete": forecast.unread,
        "verdict": "fits" if forecast.fits else "does not fit",
        "remedy": "\n".join(forecast.advice),
    }
    return {name: text for name, text in lines.items() if text}


def _time(forecast: Forecast) -> str:
    if forecast.seconds is None:
        return "unknown: `mlx-probe plan` times this machine"
    sides = side_names(forecast.configuration["metrics"])
    uncounted = [sides] if sides else []
    uncounted.append("waiting for disk and network not counted")
    return ", ".join([_duration(forecast.seconds), *uncounted])


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 100 else f"{hours:.1f} h"


def _stages(forecast: Forecast) -> Rows:
    rows = [
        (
            name,
            "-" if stage.seconds is None else f"{stage.seconds:.2f}",
            f"{stage.flops / 1e9:,.1f}" if stage.flops else "-",
        )
        for name, stage in forecast.stages.items()
    ]
    return ("stage", "worker s", "GFLOP"), rows


def _inference(forecast: Forecast) -> Rows:
    rows = [
        (
            "as stored" if each.bits == STORED else f"{each.bits} bits",
            f"{each.context:,}",
            format_size(each.weights),
            "-" if each.cache is None else format_size(each.cache),
            format_size(each.total),
        )
        for each in forecast.inference
    ]
    return ("to run it in", "context", "weights", "cache", "together"), rows
