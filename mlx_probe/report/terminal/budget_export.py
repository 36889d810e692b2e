"""A model that was written under a budget, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import grid

__all__ = ["exported_text"]


def exported_text(exported: Mapping[str, Any]) -> Sequence[RenderableType]:
    """What was written, and how well a text is predicted.

    Args:
        exported: "exported" of the document of `mlx-probe budget MODEL --json`.
    """
    facts = {
        tr("exported"): tr(
            "{folder}: {bytes} bytes of weights, an error of {error}",
            folder=exported["folder"],
            bytes=f"{exported['bytes']:,}",
            error=f"{exported['error']:.3%}",
        )
    }
    if exported["needs_code"]:
        facts[tr("to load it")] = "mlx_lm.load(FOLDER, trust_remote_code=True)"
    parts: list[RenderableType] = [grid(facts)]
    if exported["text"] is not None:
        parts.append(_table(exported["text"]))
    return parts


def _table(text: Mapping[str, Any]) -> Table:
    tokens = max(model["tokens"] for model in text["models"])
    title = tr("{tokens} tokens of {source}", tokens=f"{tokens:,}", source=text["source"])
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    drawn.add_column(tr("model"), no_wrap=True)
    for name in (tr("size"), tr("perplexity"), tr("bits per byte")):
        drawn.add_column(name, justify="right", no_wrap=True)
    reasons = {model["reason"] for model in text["models"]} - {""}
    if reasons:
        drawn.add_column("", overflow="fold")
    for model in text["models"]:
        row = [
            _name(model),
            format_size(model["bytes"]) if model["bytes"] else "-",
            _number(model["perplexity"]),
            _number(model["bits_per_byte"]),
        ]
        drawn.add_row(*row, *([translated(model["reason"])] if reasons else []))
    return drawn


def _name(model: Mapping[str, Any]) -> str:
    if model["name"] == "uniform":
        if model["bits"] is None:
            return tr("uniform")
        return tr("uniform, {bits}-bit", bits=model["bits"])
    return tr("before") if model["name"] == "before" else tr("after")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if value >= 1000 else f"{value:.3f}"
