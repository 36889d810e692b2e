"""Findings as text: the most severe first, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.analysis.findings import FINDINGS, Finding
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.report.terminal.text import printable

__all__ = ["STYLES", "findings_text", "nothing_found", "severity_word"]

STYLES = {"high": "bold red", "medium": "yellow", "note": "cyan"}
# Tensors of one finding that are named; the table and --json have all.
_MOST_NAMES = 3


def severity_word(severity: str) -> str:
    """A severity in the reader's language."""
    words = {"high": tr("high"), "medium": tr("medium"), "note": tr("note")}
    return words[severity]


def nothing_found(of_sample: bool = False) -> str:
    """What is said of a clean model, or of a clean sample of one."""
    if of_sample:
        return tr(
            "Nothing unusual in the sample: none of the {count} rules names a tensor of it.",
            count=len(FINDINGS),
        )
    return tr("Nothing unusual: none of the {count} rules names a tensor.", count=len(FINDINGS))


def findings_text(
    findings: Sequence[Finding], most: int | None = None, run: str = "", of_sample: bool = False
) -> RenderableType:
    """Findings for a terminal.

    Args:
        findings: Most severe first.
        most: How many to print, one line each, with the number of the others; None for all, with
            what to do and the tensors.
        run: The run's folder, for the command that prints all.
        of_sample: Whether only a part of the model was measured.
    """
    heading = f"[bold]{printable(tr('Findings'))}[/]"
    if not findings:
        return Group(heading, f"  {printable(nothing_found(of_sample))}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings[:most]:
        word = f"[{STYLES[finding.severity]}]{printable(severity_word(finding.severity))}[/]"
        table.add_row(f"  {word}", printable(finding.sentence.shown))
        if most is None:
            table.add_row("", f"[dim]{printable(finding.remedy.shown)}[/]")
            if len(finding.rows) > 1:
                table.add_row("", f"[dim]{printable(_names(finding))}[/]")
    parts: list[RenderableType] = [heading, table]
    left = len(findings) - len(findings[:most])
    if left:
        parts.append(
            printable(tr("  and {count} more: mlx-probe findings {run}", count=left, run=run))
        )
    return Group(*parts)


def _names(finding: Finding) -> str:
    names = enumerated(finding.rows[:_MOST_NAMES])
    left = len(finding.rows) - _MOST_NAMES
    if left <= 0:
        return tr("Tensors: {names}", names=names)
    return tr("Tensors: {names} and {count} more", names=names, count=left)
