"""`mlx-probe explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_probe.analysis.explain import explain as explanations_of
from mlx_probe.analysis.explain import explain_all
from mlx_probe.core.language import LANGUAGES, speaking
from mlx_probe.report.terminal.explain import explained, listed, located

from .command import Command
from .console import output
from .document import json_option, print_document

if TYPE_CHECKING:
    from mlx_probe.analysis.positions import Position

__all__ = ["explain"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe explain",
        "mlx-probe explain alpha stable_rank",
        "mlx-probe explain alpha --run data/outputs/Qwen--Qwen3-0.6B",
    ),
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="Also say where the values of this run lie against the typical range.",
)
@json_option
def explain(names: tuple[str, ...], run: Path | None, as_json: bool) -> None:
    """Explain what columns mean: in plain words, exactly, and when they mislead.

    NAME is a column of any table, such as alpha, or its title, such as "stable rank". Without a
    NAME all columns are listed.
    """
    if run is not None and not names:
        raise click.UsageError("--run needs the NAME of a column")
    if as_json:
        with speaking(LANGUAGES[0]):
            print_document(_document(names, run))
        return
    console = output()
    if not names:
        for line in listed(explain_all()):
            console.print(line, markup=False)
    for number, name in enumerate(names):
        explanations = explanations_of(name)
        lines = ["", *explained(explanations, console.width)][number == 0 :]
        if run is not None:
            for position in _positions(run, explanations[0].name):
                lines += ["", *located(position, str(run), console.width)]
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)


def _document(names: tuple[str, ...], run: Path | None) -> list[dict[str, object]]:
    found = [each for name in names for each in explanations_of(name)] if names else explain_all()
    document = [each.as_json() for each in found]
    if run is not None:
        for name in dict.fromkeys(str(entry["name"]) for entry in document):
            positions = {each.table: each.as_json() for each in _positions(run, name)}
            for entry in document:
                if entry["name"] == name:
                    entry["run"] = positions.get(str(entry["table"]))
    return document


def _positions(run: Path, name: str) -> list[Position]:
    # Explaining alone reads no tables, and needs no pandas.
    from mlx_probe.analysis.positions import positions_in

    return positions_in(run, name)
