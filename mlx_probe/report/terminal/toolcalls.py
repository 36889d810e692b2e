"""A folder of examples of function calls as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.text import printable

__all__ = ["toolcalls_text"]


def toolcalls_text(described: Mapping[str, Any]) -> RenderableType:
    """What a folder of examples holds.

    Args:
        described: "folder", "rows", "parts" (each with its counts, and "tokens" where they are
            known), "rejected" and "notes".
    """
    table = Table(box=None, pad_edge=False)
    titles = [
        *(tr("part"), tr("examples"), tr("functions"), tr("calls"), tr("several calls")),
        *(tr("no call"), tr("without parameters")),
    ]
    counted = any(part["tokens"] for part in described["parts"].values())
    if counted:
        titles += [tr("tokens, median"), tr("95 %"), tr("longest")]
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    names = {"train": tr("training"), "valid": tr("validation"), "test": tr("test")}
    for name, part in described["parts"].items():
        keys = ("examples", "functions", "calls", "several_calls", "without_calls")
        cells = [f"{part[key]:,}" for key in (*keys, "without_parameters")]
        if counted:
            tokens = part["tokens"] or {}
            cells += [f"{tokens[key]:,}" if tokens else "" for key in ("p50", "p95", "longest")]
        table.add_row(names[name], *cells)
    reasons = _reasons()
    rejected = [
        tr("{name}: {count}", name=reasons[key], count=f"{count:,}")
        for key, count in described["rejected"].items()
        if count
    ]
    lines = [Text(tr("left out: {what}", what=tr(", ").join(rejected)))] * bool(rejected)
    lines += [Text(translated(note)) for note in described["notes"]]
    return Group(printable(described["folder"]), table, *lines)


def _reasons() -> dict[str, str]:
    """Why examples are left out, for the reader."""
    return {
        "broken line": tr("broken lines"),
        "other format": tr("rows of another format"),
        "no messages": tr("rows without messages"),
        "unknown role": tr("unknown roles"),
        "no answer": tr("questions without an answer"),
        "broken tools": tr("broken tools"),
        "malformed call": tr("malformed calls"),
        "unknown function": tr("calls of unknown functions"),
        "missing argument": tr("missing arguments"),
        "unknown argument": tr("unknown arguments"),
        "wrong type": tr("arguments of the wrong type"),
        "wrong value": tr("arguments with a wrong value"),
        "broken schema": tr("broken schemas"),
        "duplicate": tr("duplicates"),
        "template": tr("not taken by the template"),
        "too long": tr("too long"),
    }
