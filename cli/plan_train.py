"""`mlx-probe plan train CONFIG`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .command import Command
from .console import output
from .document import json_option, print_document
from .options import complete_files, device_option

__all__ = ["plan_train"]


@click.command(
    "train",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe plan train configs/train/shakespeare.yaml",
        "mlx-probe plan train configs/train/tiny.yaml --set layers=12 --set batch=64 --json",
    ),
)
@click.argument(
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CONFIG",
    shell_complete=complete_files,
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting above the file's, such as train.steps=600; may be repeated.",
)
@device_option("Where MLX would compute; auto takes the GPU where there is one.")
@json_option
def plan_train(config: Path, changes: tuple[str, ...], device: Any, as_json: bool) -> None:
    """Show what `mlx-probe train --config CONFIG` would need.

    Counts parameters, memory and arithmetic, and times products of the model's sizes on this
    machine for half a second. Reads no text and writes nothing. The exit code is 1 if the memory
    is not enough.
    """
    from mlx_probe.lab.settings import read_settings
    from mlx_probe.lab.train.config import Recipe
    from mlx_probe.lab.train.plan import plan_training
    from mlx_probe.report.terminal.training_plan import training_plan_text

    plan = plan_training(read_settings(Recipe, config, changes), device)
    if as_json:
        print_document(plan.describe())
    else:
        output().print(training_plan_text(plan.describe()))
    if not plan.fits:
        raise click.ClickException("it does not fit: see the warnings above")
