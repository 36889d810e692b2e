"""`mlx-probe doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.doctor import Finding, examine, gather, read_snapshot, write_snapshot
from mlx_probe.report.terminal.doctor import (
    differences_text,
    findings_json,
    findings_text,
    remote_json,
)
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
        "mlx-probe doctor --remote studio.tail1234.ts.net:8321",
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
@click.option(
    "--remote",
    metavar="HOST[:PORT]",
    help="Check instead whether this machine reaches that one; port 22, SSH's, unless given.",
)
@click.option("--tls", is_flag=True, help="With --remote: look at the certificate, too.")
def doctor(
    offline: bool,
    as_json: bool,
    snapshot: Path | None,
    compare: Path | None,
    remote: str | None,
    tls: bool,
) -> None:
    """Check this machine: Python, packages, MLX, linear algebra, disks, Hub, optional tools.

    Each line is ok, a warning (something works less well) or an error (something does not
    work), with what to do about it. The exit code is 1 if there is an error.
    """
    if tls and remote is None:
        raise ConfigError("--tls is about another machine", "Name it with --remote HOST:PORT")
    if remote is not None:
        if offline or snapshot is not None or compare is not None:
            raise ConfigError(
                "--remote looks at another machine, and at nothing of this one",
                "Leave out --offline, --snapshot and --compare",
            )
        _print_remote(remote, tls, as_json)
        return
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
    _refuse_errors(findings)


def _print_remote(remote: str, tls: bool, as_json: bool) -> None:
    from mlx_probe.doctor.remote import examine_remote, gather_remote, read_target

    target = read_target(remote)
    progress = Console(stderr=True, highlight=False)
    with progress.status(tr("looking at it")) if progress.is_terminal else nullcontext():
        facts = gather_remote(target, tls)
    findings = examine_remote(facts)
    if as_json:
        print_document(remote_json(facts, findings))
    else:
        output().print(findings_text(findings))
    _refuse_errors(findings)


def _refuse_errors(findings: Sequence[Finding]) -> None:
    errors = sum(finding.status == "error" for finding in findings)
    if errors:
        raise click.ClickException(f"errors in {errors} of {len(findings)} findings")
