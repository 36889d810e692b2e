"""Findings of the doctor, as text for a terminal and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.doctor import Difference, Facts, Finding
from mlx_probe.doctor.remote import RemoteFacts
from mlx_probe.report.terminal.text import printable

__all__ = ["differences_text", "findings_json", "findings_text", "remote_json"]


def _mark(status: str) -> str:
    marks = {
        "ok": f"[green]{tr('ok')}[/]",
        "warning": f"[yellow]{tr('warning')}[/]",
        "error": f"[bold red]{tr('error')}[/]",
    }
    return marks[status]


def findings_text(findings: Sequence[Finding]) -> RenderableType:
    """A line for each finding with its remedy below, and the count of each status."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    previous = ""
    for finding in findings:
        name = "" if finding.check == previous else finding.check
        fact, remedy = translated(finding.fact), translated(finding.remedy)
        table.add_row(_mark(finding.status), printable(translated(name)), printable(fact))
        if remedy:
            table.add_row("", "", f"[cyan]{printable(remedy)}[/]")
        previous = finding.check
    counts = Counter(finding.status for finding in findings)
    total = tr(
        "{fine} ok, {warnings} warnings, {errors} errors",
        fine=counts["ok"],
        warnings=counts["warning"],
        errors=counts["error"],
    )
    return Group(table, "", total)


def differences_text(differences: Sequence[Difference], folder: Path) -> RenderableType:
    """What has changed, before and now.

    Args:
        differences: From `Snapshot.differences`.
        folder: The snapshot's folder.
    """
    if not differences:
        return tr(
            "as in {folder}: the same environment and packages", folder=printable(str(folder))
        )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for difference in differences:
        before, now = (
            tr("absent") if text is None else printable(text)
            for text in (difference.before, difference.now)
        )
        table.add_row(printable(difference.name), f"{before} -> {now}")
    heading = tr(
        "{count} differences from {folder}:",
        count=len(differences),
        folder=printable(str(folder)),
    )
    return Group(heading, table)


def findings_json(
    facts: Facts, findings: Sequence[Finding], differences: Sequence[Difference] | None
) -> str:
    """Everything: "status" (the worst), "checks", "facts", "differences" (null if not compared)."""
    content = {
        "status": _worst(findings),
        "checks": [asdict(finding) for finding in findings],
        "facts": facts.describe(),
        "differences": None if differences is None else [asdict(d) for d in differences],
    }
    return json.dumps(content, indent=2)


def remote_json(facts: RemoteFacts, findings: Sequence[Finding]) -> str:
    """What was seen of another machine: "status" (the worst), "checks", "remote"."""
    content = {
        "status": _worst(findings),
        "checks": [asdict(finding) for finding in findings],
        "remote": facts.describe(),
    }
    return json.dumps(content, indent=2)


def _worst(findings: Sequence[Finding]) -> str:
    statuses = {finding.status for finding in findings}
    return next((status for status in ("error", "warning") if status in statuses), "ok")
