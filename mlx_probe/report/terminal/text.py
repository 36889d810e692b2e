"""Rows and checkpoints as text for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mlx_probe.checkpoint import Checkpoint
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.core.units import format_size
from mlx_probe.runs.check import Check

__all__ = [
    "checkpoint_text",
    "checks_text",
    "grid",
    "plain",
    "printable",
    "short_count",
    "skipped_lines",
    "skipped_text",
    "summary_table",
]

# Kinds of reasons that are listed; more are counted.
_REASONS = 5


def plain(text: str) -> str:
    """Text from a file, harmless on a terminal: without control characters but line ends."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def printable(text: str) -> str:
    """`plain` text of one line that rich takes for no markup."""
    return escape(plain(text).replace("\n", "\\n"))


def summary_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Medians over the tensors of each block type, blocks in the order in which they first occur.

    Args:
        rows: Rows of a result table, column name to value.
        title: Heading.
    """
    table = Table(
        title=printable(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("block type", no_wrap=True, max_width=13)
    for name in ("tensors", "params", "rank/full", "stable rk", "eff. rk", "std", "zeros"):
        table.add_column(name, justify="right", no_wrap=True)
    blocks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        # Parts of fused matrices apart: their elements are in the fused ones' line already.
        part = " (part)" if row.get("part") else ""
        blocks.setdefault(row["block_type"] + part, []).append(row)
    for block_type, members in blocks.items():
        ranks = [
            row["rank"] / min(row["rows"], row["cols"])
            for row in members
            if row["rank"] is not None
        ]
        table.add_row(
            printable(block_type),
            str(len(members)),
            short_count(sum(row["numel"] for row in members)),
            f"{median(ranks):.3f}" if ranks else "-",
            _median(members, "stable_rank", ".1f"),
            _median(members, "effective_rank", ".1f"),
            _median(members, "std", ".4g"),
            _median(members, "sparsity", ".2%"),
        )
    return table


def checkpoint_text(checkpoint: Checkpoint) -> RenderableType:
    """Every parameter with its role, shape, type and size, and the totals; from headers only."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "role", "layer", "dtype", "shape", "size"):
        table.add_column(
            name, justify="right" if name in ("layer", "size") else "left", overflow="fold"
        )
    files, parameters = checkpoint.files, checkpoint.parameters
    for parameter in parameters:
        role = classify(parameter.name)
        table.add_row(
            printable(parameter.name),
            role.block_type,
            "" if role.layer_index is None else str(role.layer_index),
            printable(parameter.stored_as) + (" (skipped)" if parameter.problem else ""),
            " x ".join(map(str, parameter.shape)) or "scalar",
            format_size(parameter.nbytes),
        )
    numel, nbytes = (sum(getattr(p, name) for p in parameters) for name in ("numel", "nbytes"))
    types = Counter(parameter.stored_as for parameter in parameters)
    lines = {
        "model": f"{files.model_id} at {files.revision}",
        "path": str(files.path),
        "format": f"{checkpoint.framework}, {len(files.weights)} file(s)",
        "architecture": _pairs(checkpoint.architecture.describe()),
        "tensors": f"{len(parameters)} ({', '.join(f'{n} {t}' for t, n in types.most_common())})",
        "parameters": f"{numel:,}",
        "size": format_size(nbytes)
        + (f", {8 * nbytes / numel:.2f} bits a weight" if numel else ""),
    }
    if checkpoint.adapter is not None:
        adapter = checkpoint.adapter.describe()
        adapter["targets"] = f"{len(adapter['targets'])} modules"
        lines["adapter"] = _pairs(adapter)
    skipped = [(p.name, p.problem, p.nbytes) for p in parameters if p.problem]
    lines |= skipped_lines(skipped, "tensors")
    return Group(table, grid({name: text for name, text in lines.items() if text}))


def skipped_lines(skipped: Sequence[tuple[str, str, int]], what: str) -> dict[str, str]:
    """How much could not be read and why, from name, reason and bytes of each."""
    if not skipped:
        return {}
    # Reasons that differ only in a name or a number are of one kind; the first is shown.
    kinds: dict[str, list[str]] = {}
    for name, reason, _ in skipped:
        kind = re.sub(r"\S*[\d.]\S*", "#", reason)
        kinds.setdefault(kind, []).append(reason if name in reason else f"{name}: {reason}")
    reasons = [f"{len(alike)}: {alike[0]}" for alike in kinds.values()]
    if len(reasons) > _REASONS:
        reasons[_REASONS:] = [f"and {len(reasons) - _REASONS} more reasons"]
    total = f"{len(skipped)} {what}, {format_size(sum(nbytes for _, _, nbytes in skipped))}"
    return {"skipped": "\n".join([total, *reasons])}


def _pairs(known: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in known.items() if value is not None
    )


def skipped_text(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What an analysis could not read, with the reasons; empty if there is nothing.

    Args:
        rows: Rows of a result table, column name to value.
    """
    skipped = [
        (row["param_name"], row["status_reason"], row["nbytes"])
        for row in rows
        if row["status"] == "skipped"
    ]
    return grid(skipped_lines(skipped, "weights"))


def checks_text(checks: Sequence[Check]) -> RenderableType:
    """One line for each check."""
    table = Table.grid(padding=(0, 2))
    for check in checks:
        mark = "[green]ok[/]" if check.passed else "[bold red]failed[/]"
        table.add_row(mark, printable(check.name), printable(check.detail))
    return table


def grid(lines: Mapping[str, str]) -> Table:
    """A table of names and texts; a text may have several lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, "\n".join(map(printable, text.split("\n"))))
    return table


def _median(rows: Iterable[dict[str, Any]], column: str, form: str) -> str:
    values = [row[column] for row in rows if row.get(column) is not None]
    return format(median(values), form) if values else "-"


def short_count(n: int) -> str:
    """A count of four digits and a letter for the thousands ("135.4 M")."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.4g} {letter}"
    return str(n)
