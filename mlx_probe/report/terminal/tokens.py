"""A folder of tokens as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.terminal.text import printable

__all__ = ["tokens_text"]


def tokens_text(described: Mapping[str, Any]) -> RenderableType:
    """What a folder of tokens holds.

    Args:
        described: "folder", "vocabulary", "splits" (each with "documents", "bytes", "tokens",
            "bytes_per_token"), "dropped" and "notes".
    """
    table = Table(box=None, pad_edge=False)
    titles = (tr("split"), tr("documents"), tr("text"), tr("tokens"), tr("bytes per token"))
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    names = {"train": tr("training"), "validation": tr("validation")}
    for name, split in described["splits"].items():
        size, ratio = format_size(split["bytes"]), f"{split['bytes_per_token']:.2f}"
        table.add_row(names[name], f"{split['documents']:,}", size, f"{split['tokens']:,}", ratio)
    reasons = {
        "duplicate": tr("duplicates"),
        "empty": tr("empty"),
        "no text": tr("rows without text"),
        "no column": tr("rows without the column"),
    }
    dropped = [
        tr("{name}: {count}", name=reasons[key], count=f"{count:,}")
        for key, count in described["dropped"].items()
        if count
    ]
    lines = [Text(tr("left out: {what}", what=tr(", ").join(dropped)))] * bool(dropped)
    lines += [Text(translated(note)) for note in described["notes"]]
    vocabulary = tr("vocabulary: {count}", count=f"{described['vocabulary']:,}")
    return Group(printable(described["folder"]), table, Text(vocabulary), *lines)
