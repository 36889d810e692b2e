"""`mlx-probe docs notebook`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.console import output
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.report.terminal.text import printable

from .common import project_option

__all__ = ["notebook_command"]


@click.command(
    "notebook",
    cls=Command,
    examples=(
        "mlx-probe docs notebook notebooks/20_per_layer.ipynb --dir notes",
        "mlx-probe docs notebook runs/tuned --out tuned.md",
    ),
)
@click.argument("notebook", metavar="RUN|FILE.ipynb", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.md",
    help="The document.  [default: in the folder notebooks of the project]",
)
@project_option
@json_option
def notebook_command(notebook: Path, out: Path | None, folder: Path, as_json: bool) -> None:
    """Write a notebook, or the one in the folder of a RUN, as a document with its plots.

    Nothing is executed: the document has the outputs that the notebook holds, and the notebook's
    hash, so that `docs check` finds it stale. No file is replaced. Needs nbconvert: pip install
    'mlx-probe[notebooks]'.
    """
    from mlx_probe.library.documents.making import needed_project
    from mlx_probe.library.documents.notebooks import find_notebook, write_notebook

    source = find_notebook(notebook)
    project = needed_project(folder) if out is None else None
    made = write_notebook(source, out, project)
    if as_json:
        print_document({"file": str(made[0]), "figures": [str(path) for path in made[1:]]})
    else:
        for path in made:
            output().print(printable(str(path)), soft_wrap=True)
