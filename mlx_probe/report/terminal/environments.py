"""Environments and their checks as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.environments import Checked, Listed, status_word
from mlx_probe.report.terminal.text import printable

__all__ = ["check_text", "list_text"]

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "skipped": "dim"}


def list_text(listed: Sequence[Listed], folder: Path) -> RenderableType:
    """A line for each environment.

    Args:
        listed: The environments.
        folder: Where they are.
    """
    if not listed:
        shown = printable(str(folder))
        return tr("no environments in {folder}", folder=shown)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in (tr("name"), tr("state"), tr("template"), tr("made by"), "Python"):
        table.add_column(name, overflow="fold")
    for name in (tr("packages"), tr("size")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(tr("checked"), overflow="fold")
    for each in listed:
        state = _state_word(each.state)
        result = f"{_marked(each.status)} {each.checked[:10]}" if each.status else ""
        table.add_row(
            printable(each.name),
            state if each.state == "ready" else f"[red]{state}[/]",
            printable(each.template),
            each.maker,
            each.python,
            f"{each.packages:,}",
            format_size(each.size),
            result,
        )
    return table


def check_text(checked: Checked) -> RenderableType:
    """A line for each outcome with its remedy below, and the count of each status."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in checked.outcomes:
        name, fact = printable(translated(each.check)), printable(translated(each.fact))
        table.add_row(_marked(each.status), name, printable(each.version), fact)
        if each.remedy and each.status != "ok":
            remedy = printable(translated(each.remedy))
            table.add_row("", "", "", f"[cyan]{remedy}[/]")
    counts = checked.counts
    total = tr(
        "{fine} ok, {warnings} warnings, {errors} errors, {skipped} skipped",
        fine=counts["ok"],
        warnings=counts["warning"],
        errors=counts["error"],
        skipped=counts["skipped"],
    )
    return Group(table, "", total)


def _marked(status: str) -> str:
    return f"[{_STYLES[status]}]{status_word(status)}[/]"


def _state_word(state: str) -> str:
    words = {
        "ready": tr("ready"),
        "no-python": tr("its Python is gone"),
        "being made": tr("being made"),
        "interrupted": tr("interrupted"),
        "damaged": tr("damaged"),
    }
    return words[state]
