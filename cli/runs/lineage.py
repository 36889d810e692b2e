"""`runs lineage`: which run came from what."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import complete_files
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text
from mlx_probe.library.catalog.database import Database
from mlx_probe.library.experiments import find_run, load_runs
from mlx_probe.library.experiments.lineage import Lineage, build_lineage, run_key
from mlx_probe.report.terminal.plain import plain

from .common import with_runs

__all__ = ["lineage_command"]


@click.command(
    "lineage",
    cls=Command,
    examples=(
        "mlx-probe runs lineage 3f2a",
        "mlx-probe runs lineage Qwen/Qwen3-0.6B --out lineage.html",
    ),
)
@click.argument("target", required=False, metavar="[RUN|MODEL]", shell_complete=complete_files)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with the graph.",
)
@json_option
@with_runs
def lineage_command(
    database: Database, target: str | None, out: Path | None, as_json: bool
) -> None:
    """Show which run came from which checkpoint, data and code.

    Of a run or a model: all that it came from, and all that came from it.
    """
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out} is no page", "Name a file that ends in .html")
    found = None if target is None else _find(database, target)
    lineage = build_lineage(load_runs(database))
    chosen = [] if target is None else _keys(lineage, target, found)
    if chosen:
        lineage = lineage.around(chosen)
    if out is not None:
        from mlx_probe.report.html.lineage_page import lineage_html

        write_text(out, lineage_html(lineage, chosen, target or ""))
    if as_json:
        page = None if out is None else str(out)
        print_document({**lineage.describe(), "chosen": chosen, "page": page})
    elif out is not None:
        click.echo(plain(str(out)))
    else:
        from mlx_probe.report.terminal.lineage import lineage_text

        output().print(lineage_text(lineage, chosen), soft_wrap=True)


def _find(database: Database, target: str) -> str | ResultError:
    """The key of the run that is meant, or why none is."""
    try:
        return run_key(find_run(target, database))
    except ResultError as error:
        return error


def _keys(lineage: Lineage, target: str, found: str | ResultError | None) -> list[str]:
    """The nodes that are meant: a run, or a model or data by its name.

    Raises:
        ResultError: There are none.
    """
    if isinstance(found, str) and found in lineage.nodes:
        return [found]
    if named := lineage.named(target):
        return named
    if isinstance(found, ResultError):
        raise found
    raise ResultError(
        f"there is no run and no model {target!r} in the lineage", "See `mlx-probe runs list`"
    )
