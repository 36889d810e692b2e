"""`mlx-probe query`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mlx_probe.core.errors import ConfigError

from .command import Command
from .console import output
from .document import json_option, print_document, wants_json

__all__ = ["query", "scope_options"]

_FORMATS = ("table", "json", "csv", "markdown")

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def scope_options(command: Decorated) -> Decorated:
    """--runs, --catalog and --database: what may be seen."""
    for option in reversed(_SCOPE):
        command = option(command)
    return command


_SCOPE: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--runs",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="A run, or a folder below which there are runs; may be repeated.  "
        "[default: data/outputs]",
    ),
    click.option(
        "--catalog", is_flag=True, help="Add the runs that `mlx-probe catalog scan` found."
    ),
    click.option(
        "--database",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="MLX_PROBE_CATALOG",
        metavar="FILE",
        help="The catalog.  [default: catalog.sqlite in the system's data folder]",
    ),
)


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe query 'select run, model, seconds from runs order by seconds'",
        "mlx-probe query --schema",
        "mlx-probe query --catalog --format csv 'from params where rank < cols'",
    ),
)
@click.argument("sql", required=False)
@scope_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    default=_FORMATS[0],
    help="How to print the rows.",
)
@click.option("--schema", is_flag=True, help="List the views and their columns.")
@json_option
@click.pass_context
def query(
    ctx: click.Context,
    sql: str | None,
    runs: tuple[Path, ...],
    catalog: bool,
    database: Path | None,
    format_: str,
    schema: bool,
    as_json: bool,
) -> None:
    """Answer one SELECT statement in DuckDB's SQL about finished runs; nothing is written.

    SQL names views: runs, params (the tables of all analyses, with the column run), compare,
    spectra, findings, heads and experts, and from the catalog models and model_files. Columns
    that a run lacks are null in its rows. - reads the statement from standard input.

    The statement sees nothing but these views: no file, no address, no setting.
    """
    if schema == (sql is not None):
        raise ConfigError(
            "give either a statement or --schema",
            "For instance: mlx-probe query 'select * from runs'",
        )
    from mlx_probe.library.query import Scope, ask, describe_views

    scope = Scope(runs, catalog, database)
    as_json = as_json or format_ == "json"
    if as_json:
        wants_json(ctx)
    if sql is None:
        from mlx_probe.report.query_schema import schema_document

        document = schema_document(describe_views(scope))
        if as_json:
            print_document(document)
        else:
            from mlx_probe.report.terminal.query import schema_text

            output().print(schema_text(document), soft_wrap=True)
        return
    statement = sys.stdin.read() if sql == "-" else sql
    answer = ask(statement, scope)
    from mlx_probe.report.answers import answer_csv, answer_document, answer_markdown

    if as_json:
        print_document(answer_document(answer))
    elif format_ == "csv":
        for line in answer_csv(answer):
            click.echo(line, nl=False)
    elif format_ == "markdown":
        click.echo(answer_markdown(answer))
    else:
        from mlx_probe.report.terminal.query import answer_text

        console = output()
        console.print(answer_text(answer, console.width))
