"""Rows and checkpoints as text for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.core.counts import tensors_text, weights_text
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.report.fields import architecture_text, pairs_text
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import one_line, printable
from mlx_probe.runs.check import Check
from mlx_probe.runs.table.arrays import to_floats

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "checkpoint_text",
    "checks_text",
    "grid",
    "printable",
    "short_count",
    "skipped_lines",
    "skipped_text",
    "summary_table",
    "warning_text",
]

_ELEMENTS = ("std", "sparsity")
# Kinds of reasons that are listed; more are counted.
_REASONS = 5
_LONGEST_ROLE = 12


def summary_table(rows: pa.Table, title: str) -> Table:
    """Medians over the tensors of each kind (`kind_labels`), in the order of the first of each.

    Args:
        rows: A result table; it may have hundreds of thousands of rows.
        title: Heading; it gets a note where a sample leaves rows out.
    """
    known = "status" in rows.column_names
    statuses = rows["status"].to_pylist() if known else [None] * rows.num_rows
    unsampled = np.array([status == "unsampled" for status in statuses], bool)
    if unsampled.any():
        title = tr("{title}: medians of a sample", title=title)
    table = Table(
        title=printable(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    # In two lines where 80 columns need it.
    table.add_column(tr("block type"), no_wrap=True, max_width=16)
    headings = (
        tr("measured/\ntensors") if unsampled.any() else tr("tensors"),
        *(tr("params"), tr("rank/\nfull"), tr("stable\nrank")),
        *(tr("effective\nrank"), tr("std"), tr("zeros")),
    )
    for name in headings:
        table.add_column(name, justify="right", no_wrap=True)
    blocks: dict[str, list[int]] = {}
    present = [name for name in KIND_COLUMNS if name in rows.column_names]
    for index, kind in enumerate(kind_labels({n: rows[n].to_pylist() for n in present})):
        blocks.setdefault(kind, []).append(index)
    shares = _numbers(rows, "rank") / np.minimum(_numbers(rows, "rows"), _numbers(rows, "cols"))
    numbers = {name: _numbers(rows, name) for name in ("stable_rank", "effective_rank", *_ELEMENTS)}
    counts = rows["numel"].to_pylist()
    for block_type, members in blocks.items():
        table.add_row(
            printable(block_type),
            f"{np.sum(~unsampled[members])}/{len(members)}"
            if unsampled.any()
            else str(len(members)),
            short_count(sum(counts[index] for index in members)),
            _median(shares[members], ".3f"),
            _median(numbers["stable_rank"][members], ".1f"),
            _median(numbers["effective_rank"][members], ".1f"),
            _median(numbers["std"][members], ".4g"),
            _median(numbers["sparsity"][members], ".2%"),
        )
    return table


def checkpoint_text(checkpoint: Checkpoint) -> RenderableType:
    """Every parameter with its role, shape, type and size, and the totals; from headers only."""
    table = Listing(
        (
            Heading(tr("name")),
            # Few roles are longer, and the names need the room.
            Heading(tr("role"), most=_LONGEST_ROLE),
            Heading(tr("layer"), is_number=True),
            Heading(tr("dtype")),
            Heading(tr("shape")),
            Heading(tr("size"), is_number=True),
        )
    )
    files, parameters = checkpoint.files, checkpoint.parameters
    for parameter in parameters:
        role = classify(parameter.name)
        cells = (
            one_line(parameter.name),
            role.block_type,
            "" if role.layer_index is None else str(role.layer_index),
            one_line(parameter.stored_as) + (tr(" (skipped)") if parameter.problem else ""),
            " x ".join(map(str, parameter.shape)) or tr("scalar"),
            format_size(parameter.nbytes),
        )
        table.rows.append(cells)
    numel, nbytes = (sum(getattr(p, name) for p in parameters) for name in ("numel", "nbytes"))
    types = Counter(parameter.stored_as for parameter in parameters)
    lines = {
        tr("model"): tr("{model} at {revision}", model=files.model_id, revision=files.revision),
        tr("path"): str(files.path),
        tr("format"): f"{checkpoint.framework}, " + tr("{count} file(s)", count=len(files.weights)),
        tr("architecture"): architecture_text(checkpoint.architecture.describe()),
        tr("tensors"): f"{len(parameters)} "
        f"({enumerated(f'{n} {t}' for t, n in types.most_common())})",
        tr("parameters"): f"{numel:,}",
        tr("size"): format_size(nbytes)
        + (tr(", {bits} bits a weight", bits=f"{8 * nbytes / numel:.2f}") if numel else ""),
    }
    if checkpoint.adapter is not None:
        adapter = checkpoint.adapter.describe()
        adapter["targets"] = tr("{count} modules", count=len(adapter["targets"]))
        lines[tr("adapter")] = pairs_text(adapter)
    skipped = [(p.name, p.problem, p.nbytes) for p in parameters if p.problem]
    lines |= skipped_lines(skipped, tensors_text, nbytes)
    return Group(table, grid({name: text for name, text in lines.items() if text}))


def skipped_lines(
    skipped: Sequence[tuple[str, str, int]], what: Callable[[int], str], total_bytes: int = 0
) -> dict[str, str]:
    """How much could not be read and why, from name, reason and bytes of each.

    Args:
        skipped: What could not be read.
        what: A number of them in words.
        total_bytes: Stored bytes of the whole: a few kilobytes may be all there is. 0 if unknown.
    """
    if not skipped:
        return {}
    # Reasons that differ only in a name or a number are of one kind; the first is shown.
    kinds: dict[str, list[str]] = {}
    for name, reason, _ in skipped:
        kind = re.sub(r"\S*[\d.]\S*", "#", reason)
        kinds.setdefault(kind, []).append(reason if name in reason else f"{name}: {reason}")
    reasons = [f"{len(alike)}: {translated(alike[0])}" for alike in kinds.values()]
    if len(reasons) > _REASONS:
        reasons[_REASONS:] = [tr("and {count} more reasons", count=len(reasons) - _REASONS)]
    nbytes = sum(nbytes for _, _, nbytes in skipped)
    share = tr(" ({share} of all)", share=f"{nbytes / total_bytes:.1%}") if total_bytes else ""
    total = f"{what(len(skipped))}, {format_size(nbytes)}{share}"
    return {tr("skipped"): "\n".join([total, *reasons])}


def skipped_text(rows: pa.Table) -> RenderableType:
    """What an analysis could not read, with the reasons; empty if there is nothing.

    Args:
        rows: A result table.
    """
    columns = (rows[name].to_pylist() for name in ("param_name", "status_reason", "nbytes"))
    statuses = rows["status"].to_pylist()
    skipped = compress(zip(*columns, strict=True), (status == "skipped" for status in statuses))
    # Parts of fused matrices have the bytes of the whole ones.
    pairs = zip(rows["nbytes"].to_pylist(), rows["part"].to_pylist(), strict=True)
    total = sum(nbytes or 0 for nbytes, part in pairs if part is None)
    return grid(skipped_lines(list(skipped), weights_text, total))


def warning_text(text: str) -> str:
    """A text that must not be overlooked, as markup."""
    return f"[bold red]{tr('INCOMPLETE')}[/] {printable(translated(text))}"


def checks_text(checks: Sequence[Check]) -> RenderableType:
    """One line for each check."""
    table = Table.grid(padding=(0, 2))
    for overflow in ("ellipsis", "fold", "fold"):
        table.add_column(overflow=overflow)
    for check in checks:
        mark = f"[green]{tr('ok')}[/]" if check.passed else f"[bold red]{tr('failed')}[/]"
        name, detail = translated(check.name), translated(check.detail)
        table.add_row(mark, printable(name), printable(detail))
    return table


def grid(lines: Mapping[str, str]) -> Table:
    """A table of names and texts; a text may have several lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines.items():
        table.add_row(name, "\n".join(map(printable, text.split("\n"))))
    return table


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    """A column with NaN for null; all NaN if the table does not have it."""
    if name not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    return to_floats(rows[name])


def _median(values: NDArray[np.float64], form: str) -> str:
    known = values[~np.isnan(values)]
    return format(median(known.tolist()), form) if known.size else "-"


def short_count(n: int) -> str:
    """A count of four digits and a letter for the thousands ("135.4 M")."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= size:
            return f"{n / size:.4g} {letter}"
    return str(n)
