"""A forecast as text for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.forecast.inference import STORED
from mlx_probe.analysis.side_tables import side_names
from mlx_probe.core.counts import weights_text
from mlx_probe.core.language import tr
from mlx_probe.core.markdown import escaped, section, table
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import grid, printable, skipped_lines
from mlx_probe.runs.sample_line import sample_line

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
    parts = ["# " + tr("Plan: {goal}", goal=escaped(translated(forecast.goal)))]
    for name, text in (_facts(forecast) | _verdict(forecast)).items():
        parts.append(section(name.capitalize(), _lines(text)))
    for name, (header, rows) in (
        (tr("Stages"), _stages(forecast)),
        (tr("Memory of inference"), _inference(forecast)),
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
        tr("goal"): translated(forecast.goal),
        tr("model"): tr(
            "{model} at {revision} ({format}), {parameters} parameters",
            model=model["id"],
            revision=model["revision"],
            format=model["framework"],
            parameters=f"{model['parameters']:,}",
        ),
        tr("inputs"): "\n".join(forecast.inputs),
        tr("backend"): translated(forecast.backend),
        tr("steps"): "\n".join(
            f"{n}. "
            + tr(
                "{step}; else: {fallback}",
                step=translated(step.what),
                fallback=translated(step.fallback),
            )
            for n, step in enumerate(forecast.steps, 1)
        ),
        tr("outputs"): "\n".join(forecast.outputs),
        tr("checks"): "\n".join(map(translated, forecast.checks)),
        tr("log"): forecast.log,
        tr("to fetch"): tr(
            "{size} into {folder}", size=format_size(fetch.nbytes), folder=fetch.folder
        )
        if fetch.nbytes
        else "",
        tr("free disk"): tr("{size} there", size=format_size(fetch.free))
        if fetch.nbytes and fetch.free
        else "",
        tr("sample"): sample_line(forecast.sample),
        tr("to read"): format_size(forecast.read_bytes),
        tr("copies"): tr("{count} weights with the bytes of another", count=forecast.copies)
        if forecast.copies
        else "",
        tr("peak memory"): tr(
            "{peak} ({size} of it for {count} weight(s) at once)",
            peak=format_size(memory.peak),
            size=format_size(memory.in_flight),
            count=forecast.configuration["workers"],
        ),
        tr("memory limit"): tr(
            "{limit}; at least {least} for {weight}",
            limit=format_size(memory.limit),
            least=format_size(memory.least),
            weight=memory.largest,
        ),
        tr("device memory"): tr("{size} recommended", size=format_size(limit)) if limit else "",
        tr("estimated time"): _time(forecast),
    }
    lines |= skipped_lines(forecast.unreadable, weights_text)
    return {name: text for name, text in lines.items() if text}


def _verdict(forecast: Forecast) -> dict[str, str]:
    cache = ""
    if forecast.cache_unknown:
        cache = tr("unknown: {reason}", reason=translated(forecast.cache_unknown))
    elif forecast.cache_none:
        cache = tr("none: {reason}", reason=translated(forecast.cache_none))
    lines = {
        tr("cache"): cache if forecast.inference else "",
        tr("incomplete"): translated(forecast.unread),
        tr("verdict"): tr("fits") if forecast.fits else tr("does not fit"),
        tr("remedy"): "\n".join(map(translated, forecast.advice)),
    }
    return {name: text for name, text in lines.items() if text}


def _time(forecast: Forecast) -> str:
    if forecast.seconds is None:
        return tr("unknown: `mlx-probe plan` times this machine")
    sides = side_names(forecast.configuration["metrics"])
    uncounted = [translated(sides)] if sides else []
    uncounted.append(tr("waiting for disk and network not counted"))
    return tr(", ").join([_duration(forecast.seconds), *uncounted])


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
    return (tr("stage"), tr("worker s"), "GFLOP"), rows


def _inference(forecast: Forecast) -> Rows:
    rows = [
        (
            tr("as stored") if each.bits == STORED else tr("{count} bits", count=each.bits),
            f"{each.context:,}",
            format_size(each.weights),
            "-" if each.cache is None else format_size(each.cache),
            format_size(each.total),
        )
        for each in forecast.inference
    ]
    heads = (tr("to run it in"), tr("context"), tr("weights"), tr("cache"), tr("together"))
    return heads, rows
