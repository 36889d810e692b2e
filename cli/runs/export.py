"""`runs export`: runs in other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.database import with_database
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ResultError
from mlx_probe.core.messages import translated
from mlx_probe.library.catalog.database import Database
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.exporters import DEFAULT_EXPORTS, EXPORTERS

from .common import runs_argument

__all__ = ["export_command"]


@click.command(
    "export",
    cls=Command,
    examples=(
        "mlx-probe runs export shakespeare --to mlflow",
        "mlx-probe runs export 3f2a 98f4 --to tensorboard --out boards",
    ),
)
@runs_argument
@click.option(
    "--to",
    "name",
    type=click.Choice(list(EXPORTERS)),
    required=True,
    help="The tool.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A folder that exports of many runs share.  [default: data/exports/TOOL]",
)
@json_option
@with_database
def export_command(
    database: Database, runs: tuple[str, ...], name: str, out: Path | None, as_json: bool
) -> None:
    """Write runs for another tool: numbers by step, final numbers, settings, tags and notes.

    A run without steps has its final numbers at step 0. A run that was exported before is
    replaced. trackio and mlflow need their packages; a run for wandb is sent by the command that
    is printed.
    """
    from mlx_probe.library.experiments import find_run, resolve_run
    from mlx_probe.runs.exporters.exported import read_exported

    exporter, folder = EXPORTERS[name], out or DEFAULT_EXPORTS / name
    exporter.require()
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for reference in dict.fromkeys(runs):
        try:
            known = find_run(reference, database)
            run = read_exported(resolve_run(reference, database), known.tags, known.note)
            path = exporter.write(run, folder)
        except ResultError as error:
            failed.append({"run": reference, "reason": error.fact, "remedy": error.remedy})
            continue
        send = exporter.send(run, path) if exporter.send is not None else ""
        written.append(
            {
                "id": known.id,
                "folder": run.folder,
                "path": str(path),
                "steps": len(run.steps),
                "send": send,
            }
        )
        if not as_json:
            click.echo(plain(f"{run.name}: {path}"))
    show = exporter.show(folder) if exporter.show is not None and written else ""
    if as_json:
        print_document({"to": name, "written": written, "failed": failed, "show": show})
    for command in filter(None, [*(each["send"] for each in written), show]):
        if not as_json:
            click.echo(f"  {plain(command)}")
    if failed:
        lines = [f"{translated(each['reason'])}\n  {translated(each['remedy'])}" for each in failed]
        raise click.ClickException(plain("\n".join(lines)))
