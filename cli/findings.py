"""`mlx-probe findings`."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_probe.analysis.findings import findings_in, view_of

from .command import Command
from .console import output
from .document import json_option, print_document

__all__ = ["findings"]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe findings data/outputs/Qwen--Qwen3-0.6B",
        "mlx-probe findings data/outputs/Qwen--Qwen3-0.6B --json",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def findings(run: Path, as_json: bool) -> None:
    """Say what is unusual about the model of a finished RUN.

    RUN is a run folder of analyze, its run_meta.json, or one of its tables; a model's folder
    means its latest run. Each finding is a sentence with its severity (high, medium, note), the
    tensors and numbers behind it, and what to do. The rules look at the run's tables: no weight
    is read, and runs of older versions have findings, too.
    """
    view = view_of(run)
    found = findings_in(view)
    if as_json:
        print_document([one.as_json() for one in found])
        return
    from mlx_probe.report.terminal.findings import findings_text

    output().print(findings_text(found, of_sample=len(view.unsampled) > 0))
