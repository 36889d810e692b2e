"""`mlx-probe docs new`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.database import database_option, status
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.text import printable

from .common import project_option

__all__ = ["new_command"]

# As in `mlx_probe.library.documents.project`, which a test compares: help reads no YAML.
_KINDS = ("experiment", "model", "environment", "problem", "practice", "lesson")


@click.command(
    "new",
    cls=Command,
    examples=(
        'mlx-probe docs new experiment "Rank after tuning" --run runs/tuned',
        'mlx-probe docs new model "Qwen3 0.6B" --model Qwen/Qwen3-0.6B',
        'mlx-probe docs new lesson "Warm up longer" --dir notes',
    ),
)
@click.argument("kind", type=click.Choice(_KINDS), metavar="KIND")
@click.argument("title")
@click.option(
    "--run",
    metavar="RUN",
    help="Of an experiment: fill in set-up and results of this run: its folder, its id or name.",
)
@click.option(
    "--model", metavar="ID", help="Of a model: fill in what the catalog knows about this one."
)
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    help="Of an environment: fill in what is installed there: one of `env list`, a folder, or . "
    "for this one.",
)
@click.option(
    "--date",
    "day",
    metavar="YYYY-MM-DD",
    help="Its date.  [default: today, of a run the day when it was finished]",
)
@project_option
@database_option
@json_option
@click.pass_context
def new_command(
    ctx: click.Context,
    kind: str,
    title: str,
    run: str | None,
    model: str | None,
    environment: str | None,
    day: str | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Make a document of KIND from its template: TITLE gives its name, which is lower case.

    KIND is experiment, model, environment, problem, practice or lesson. No file is replaced. What
    is left to be written says `TODO`, which `docs check` finds. A document of a run or model keeps
    its hash, so that `docs check` finds the document stale when the run or model changes.
    """
    from mlx_probe.library.documents.making import needed_project
    from mlx_probe.report.new_document import Request, make_filled

    for name, value, needs in (
        ("--run", run, "experiment"),
        ("--model", model, "model"),
        ("--env", environment, "environment"),
    ):
        if value is not None and kind != needs:
            raise ConfigError(
                f"{name} is for documents of the kind {needs}, not {kind}",
                f"Write `docs new {needs}`, or leave {name} out",
            )
    project = needed_project(folder)
    request = Request(kind, title, _day(day), run, model, environment)
    with status(as_json, tr("reading")) as on_path:
        made = make_filled(project, request, ctx.obj, on_path)
    if as_json:
        print_document(
            {
                "file": str(made.path),
                "kind": kind,
                "id": made.id,
                "date": made.day.isoformat(),
                "figures": [str(path) for path in made.figures],
            }
        )
    else:
        for path in (made.path, *made.figures):
            output().print(printable(str(path)), soft_wrap=True)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no date", "Write it as 2026-12-31") from error
