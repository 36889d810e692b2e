"""`mlx-probe docs rules`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.core.language import tr
from mlx_probe.report.terminal.text import printable

from .common import project_option

__all__ = ["rules_command"]

# As in `mlx_probe.library.documents.assistant_rules`, which a test compares: help reads no YAML.
_ASSISTANTS = ("agents", "claude", "cursor")


@click.command(
    "rules",
    cls=Command,
    examples=(
        "mlx-probe docs rules --for agents --for cursor",
        "mlx-probe docs rules --for claude --out ~/code/project",
        "mlx-probe docs rules --check",
    ),
)
@click.option(
    "--for",
    "assistants",
    multiple=True,
    type=click.Choice(_ASSISTANTS),
    help="The assistant; may be repeated.  [default: all; with --check those that have files]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder that the files are written into.  [default: that of the project]",
)
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 if a file is stale.")
@click.option(
    "--overwrite", is_flag=True, help="Replace files that were edited by hand, or are another's."
)
@project_option
@json_option
@click.pass_context
def rules_command(
    ctx: click.Context,
    assistants: tuple[str, ...],
    out: Path | None,
    check: bool,
    overwrite: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Write the project's rules.md to where coding assistants look for rules.

    AGENTS.md, CLAUDE.md, and for Cursor a file for each section. Each file has the hash of the
    rules that it was written from, and of its own text: --check, and `docs check`, find files that
    are older than the rules, and files that were edited by hand.
    """
    from mlx_probe.library.documents.assistant_rules import SOURCE, states, write_rules
    from mlx_probe.library.documents.making import needed_project

    project = needed_project(folder)
    source = project.folder / SOURCE
    target = project.folder if out is None else out.expanduser()
    names = assistants or _ASSISTANTS
    found = {name: states(source, name, target) for name in names}
    if check and not assistants:
        # Files of an assistant that nobody uses are not missed.
        kept = ("current", "older", "edited", "left over")
        found = {n: files for n, files in found.items() if any(f.state in kept for f in files)}
    written: list[Path] = []
    if not check:
        for name in names:
            written += write_rules(source, name, target, overwrite)
        found = {name: states(source, name, target) for name in names}
    files = [(name, each) for name, several in found.items() for each in several]
    if as_json:
        print_document(
            {
                "source": str(source),
                "written": [str(path) for path in written],
                "files": [
                    {"for": name, "file": str(each.path), "state": each.state}
                    for name, each in files
                ],
            }
        )
    else:
        words = {
            "current": tr("current"),
            "missing": tr("missing"),
            "older": tr("older than the rules"),
            "edited": tr("edited by hand"),
            "left over": tr("left over"),
            "another's": tr("not written from the rules"),
        }
        for _, each in files:
            line = f"{each.path}: {words[each.state]}"
            output().print(printable(line), soft_wrap=True)
    if check and any(each.state != "current" for _, each in files):
        ctx.exit(1)
