"""`mlx-probe doctor`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console

from mlx_probe.core.language import tr
from mlx_probe.doctor import examine, gather, read_snapshot, write_snapshot
from mlx_probe.report.terminal.doctor import differences_text, findings_json, findings_text
from mlx_probe.report.terminal.text import printable

from .command import Command
from .console import output
from .document import json_option, print_document

__all__ = ["doctor"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe doctor",
        "mlx-probe doctor --snapshot data/outputs/environment",
        "mlx-probe doctor --compare data/outputs/environment",
    ),
)
@click.option("--offline", is_flag=True, help="Leave out what needs the network.")
@json_option
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the environment there: environment.md and environment.lock.txt.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Show what has changed since the snapshot there.",
)
def doctor(offline: bool, as_json: bool, snapshot: Path | None, compare: Path | None) -> None:
    """Check this machine: Python, packages, MLX, linear algebra, disks, Hub, optional tools.

    Each line is ok, a warning (something works less well) or an error (something does not
    work), with what to do about it. The exit code is 1 if there is an error.
    """
    # Before anything is measured or replaced: the new snapshot may go to the same folder.
    earlier = None if compare is None else read_snapshot(compare)
    progress = Console(stderr=True, highlight=False)
    with progress.status(tr("looking at this machine")) if progress.is_terminal else nullcontext():
        facts = gather(offline)
    findings = examine(facts)
    differences = None if earlier is None else earlier.differences(facts)
    written = [] if snapshot is None else write_snapshot(snapshot, facts, findings)
    if as_json:
        print_document(findings_json(facts, findings, differences))
    else:
        console = output()
        console.print(findings_text(findings))
        if differences is not None and compare is not None:
            console.print(differences_text(differences, compare))
        for path in written:
            console.print(f"  {printable(str(path))}", soft_wrap=True)
    errors = sum(finding.status == "error" for finding in findings)
    if errors:
        raise click.ClickException(f"errors in {errors} of {len(findings)} findings")
