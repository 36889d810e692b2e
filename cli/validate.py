"""`mlx-probe validate`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.analysis.validate import validate as validate_finished
from mlx_probe.report.documents import checks_document
from mlx_probe.report.terminal.text import checks_text
from mlx_probe.runs.load import locate_run

from .command import Command
from .console import output
from .document import json_option, print_document

__all__ = ["validate"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe validate data/outputs/Qwen--Qwen3-0.6B",
        "mlx-probe validate data/outputs/Qwen--Qwen3-0.6B --no-recompute",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--recompute/--no-recompute",
    default=True,
    show_default=True,
    help="Recompute five tensors from the model's files.",
)
@json_option
def validate(run: Path, recompute: bool, as_json: bool) -> None:
    """Check a finished RUN: its files, its table, and a few tensors recomputed.

    For a comparison and a training run nothing is recomputed; of a training run also the metrics
    of every step, the final model and the table of its snapshots are checked. RUN is a run folder,
    its run_meta.json, or one of its tables; a model's folder means its latest run.
    """
    checks = validate_finished(run, recompute)
    if as_json:
        print_document(checks_document(locate_run(run), checks))
    else:
        output().print(checks_text(checks))
    failed = sum(not check.passed for check in checks)
    if failed:
        raise click.ClickException(f"{failed} of {len(checks)} checks failed: {run}")
