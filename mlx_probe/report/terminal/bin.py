"""The bin of run folders as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape

from mlx_probe.core.counts import runs_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.core.units import format_size
from mlx_probe.library.experiments.bin import Binned, Removal
from mlx_probe.report.terminal.experiments import SHORT_ID
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import one_line

__all__ = ["bin_text", "removals_text"]


def removals_text(removals: Sequence[Removal], force: bool, is_done: bool) -> str:
    """What was moved to the bin, or would be, and why something would not; markup.

    Args:
        removals: From `plan_removal`.
        force: Whether folders that others need are moved, too.
        is_done: Whether it was done.
    """
    lines = []
    for removal in removals:
        folder, size = one_line(str(removal.folder)), format_size(removal.size)
        reasons = [each for each in removal.reasons if not (force and each.is_need)]
        if is_done:
            line = tr("moved to the bin: {folder}, {size}", folder=folder, size=size)
        elif reasons:
            line = tr("would not be moved: {folder}", folder=folder)
        else:
            line = tr("would be moved to the bin: {folder}, {size}", folder=folder, size=size)
        lines.append(escape(line))
        if removal.parts:
            names = ", ".join(one_line(run.name) for run in removal.parts)
            lines.append("  " + escape(tr("with it: {runs}", runs=names)))
        lines += [f"  [yellow]{escape(one_line(translated(each.text)))}[/]" for each in reasons]
        if is_done:
            command = f"mlx-probe runs restore {removal.run.id[:SHORT_ID]}"
            lines.append("  " + escape(tr("back with: {command}", command=command)))
    return "\n".join(lines)


def bin_text(entries: Sequence[Binned]) -> RenderableType:
    """A line for each folder in the bin."""
    table = Listing(
        [
            Heading(tr("id")),
            Heading(tr("runs")),
            Heading(tr("removed")),
            Heading(tr("size"), is_number=True),
            Heading(tr("was at")),
        ]
    )
    for entry in entries:
        # The run that the folder is of comes before those that lie in it.
        runs = sorted(entry.runs, key=lambda run: len(run.folder.parts))
        note = ""
        if entry.missing:
            note = f" ({tr('gone')})"
        elif entry.state == "emptying":
            note = f" ({tr('a part of it is deleted')})"
        cells = [
            runs[0].id[:SHORT_ID] if runs else entry.token[:SHORT_ID],
            ", ".join(run.name for run in runs[:3]),
            entry.created_at[:10],
            format_size(entry.size),
            f"{entry.origin}{note}",
        ]
        table.rows.append([one_line(cell) for cell in cells])
    total = format_size(sum(entry.size for entry in entries))
    count = runs_text(sum(len(entry.runs) for entry in entries))
    return Group(table, escape(f"{count}, {total}"))
