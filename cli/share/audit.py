"""`mlx-probe share audit`: who saw what, and when."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.library.share.audit import Entry, read_audit
from mlx_probe.library.share.folder import audit_path
from mlx_probe.report.terminal.listing import Heading, Listing
from mlx_probe.report.terminal.plain import plain

__all__ = ["audit_command"]


@click.command(
    "audit",
    cls=Command,
    examples=("mlx-probe share audit --last 20", "mlx-probe share audit --guest ada --json"),
)
@click.option(
    "--audit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The audit log.  [default: share/audit.jsonl in the system's data folder]",
)
@click.option("--guest", metavar="NAME", help="Requests of this guest only.")
@click.option("--refused", is_flag=True, help="Requests that were refused only.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="The last so many only.")
@json_option
def audit_command(
    audit: Path | None, guest: str | None, refused: bool, last: int | None, as_json: bool
) -> None:
    """Show who asked for what, when, and what was answered."""
    damaged = 0
    shown: deque[Entry] = deque(maxlen=last)
    for entry in read_audit(audit or audit_path()):
        if entry is None:
            damaged += 1
        elif guest in (None, entry.guest) and (not refused or entry.is_refused):
            shown.append(entry)
    if as_json:
        print_document({"requests": [asdict(entry) for entry in shown], "damaged": damaged})
        return
    headings = [
        Heading(tr("time")),
        Heading(tr("guest")),
        Heading(tr("address")),
        Heading(tr("request"), most=60),
        Heading(tr("status"), is_number=True),
        Heading(tr("bytes"), is_number=True),
        Heading(tr("reason")),
    ]
    rows = [
        (
            entry.time[:19],
            plain(entry.guest) or "-",
            plain(entry.address),
            plain(f"{entry.method} {entry.path}".strip()),
            str(entry.status),
            f"{entry.bytes:,}",
            plain(entry.reason),
        )
        for entry in shown
    ]
    output().print(Listing(headings, list(rows)))
    if damaged:
        click.echo(tr("{count} lines of the log are damaged", count=damaged), err=True)
