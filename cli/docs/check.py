"""`mlx-probe docs check`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document

__all__ = ["check_command"]


@click.command(
    "check",
    cls=Command,
    examples=(
        "mlx-probe docs check docs README.md",
        "mlx-probe docs check notes --json",
        "mlx-probe docs check notes --rule dead-link --rule dead-anchor",
    ),
)
@click.argument("paths", nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path))
@click.option(
    "--rule",
    "only",
    multiple=True,
    metavar="RULE",
    help="Only this rule, for documents of every kind; may be repeated.",
)
@click.option(
    "--ignore", multiple=True, metavar="RULE", help="Leave this rule out; may be repeated."
)
@json_option
@click.pass_context
def check_command(
    ctx: click.Context,
    paths: tuple[Path, ...],
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check the Markdown documents below DIR, which is this folder if none is named.

    Titles and dates that are missing, links and anchors that lead nowhere, what is left to be
    written, documents whose run or model has changed. Code and quotations are understood as such.
    No other machine is asked. A comment <!-- docs-check: ignore RULE --> silences a rule for the
    block behind it. The exit code is 1 if anything was found.
    """
    from mlx_probe.library.documents.check import check_documents, find_documents

    places = paths or (Path(),)
    found = check_documents(places, only, ignore)
    if as_json:
        print_document(
            [
                {
                    "file": str(each.file),
                    "line": each.line,
                    "rule": each.rule,
                    "message": each.message,
                }
                for each in found
            ]
        )
    else:
        from mlx_probe.report.terminal.documents import findings_lines

        documents = sum(1 for place in places for _ in find_documents(place))
        output().print(findings_lines(found, documents), soft_wrap=True)
    if found:
        ctx.exit(1)
