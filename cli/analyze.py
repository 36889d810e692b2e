"""`mlx-probe analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from mlx_probe.backends import BACKENDS
from mlx_probe.plan import estimate_seconds, make_plan
from mlx_probe.records import METRIC_LEVELS, SPECTRUM_MODES, AnalyzeConfig
from mlx_probe.report.cost import cost_text
from mlx_probe.report.terminal import plain, plan_text, skipped_text, summary_table
from mlx_probe.run import analyze as run_analysis
from mlx_probe.run import open_checkpoint
from mlx_probe.table.load import read_table
from mlx_probe.table.run_folder import resolve_output

from .options import (
    SIZE,
    config_option,
    format_option,
    model_argument,
    out_option,
    quiet_option,
    resume_option,
    revision_option,
    workers_option,
)
from .progress import watch

__all__ = ["analyze"]

_DEFAULT = AnalyzeConfig()

# What a run's time means: opening may have downloaded.
_STAGES = ("measure", "validate", "write")


@click.command(short_help="Measure every tensor of MODEL.", context_settings={"show_default": True})
@model_argument
@out_option("data/outputs/<model>/")
@format_option
@click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default=_DEFAULT.backend,
    help="auto takes mlx when MLX has a GPU, numpy otherwise.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default=_DEFAULT.device,
    help="Where the backend works on elements.",
)
@click.option(
    "--metrics",
    type=click.Choice(METRIC_LEVELS),
    default=_DEFAULT.metrics,
    help="basic: moments and rank. standard: all that follows from the spectrum. full: also "
    "intervals, how the weights would survive quantization, heads and experts.",
)
@click.option(
    "--spectrum",
    type=click.Choice(SPECTRUM_MODES),
    default=_DEFAULT.spectrum,
    help="exact: all singular values. approx: a preview of large matrices, the leading 256 and "
    "estimates; columns that need the others stay empty.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only tensors of such names.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No tensors of such names.")
@click.option(
    "--rank-tol",
    type=click.FloatRange(1e-9, 1, max_open=True),
    metavar="SHARE",
    default=_DEFAULT.rank_tol,
    help="rank counts singular values above this share of the largest.",
)
@click.option(
    "--zero-epsilon",
    type=click.FloatRange(0),
    metavar="EPSILON",
    default=_DEFAULT.zero_epsilon,
    help="sparsity counts magnitudes up to this.",
)
@workers_option("Weights")
@click.option(
    "--memory-limit",
    type=SIZE,
    default=_DEFAULT.memory_limit,
    help="Memory for the whole process, such as 600MB; 0 takes four fifths of what is free.",
)
@revision_option
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=_DEFAULT.seed,
    help="Chooses the tensors that the final spot check recomputes, the random vectors of "
    "approximate spectra, and the resamples behind intervals.",
)
@click.option(
    "--save-spectra/--no-save-spectra",
    default=_DEFAULT.save_spectra,
    help="Keep all singular values in spectra.parquet, for plots.",
)
@config_option
@resume_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the plan and its cost; compute nothing. Fetches what is not on this disk.",
)
@quiet_option
def analyze(
    model: str,
    out: Path | None,
    formats: tuple[str, ...],
    revision: str | None,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Measure every tensor of MODEL: moments, sparsity, exact spectrum and rank.

    Writes one row for each tensor as CSV, JSONL or Parquet, with run_meta.json and a log. An
    interrupted run goes on where it stopped when the same command is given again.

    Every option can also be set by an environment variable, MLX_PROBE_ANALYZE_WORKERS=2 for
    --workers, or in a YAML file named by --config.
    """
    config = AnalyzeConfig(**settings)
    console = Console(quiet=quiet, soft_wrap=False, highlight=False)
    if dry_run:
        with open_checkpoint(model, revision) as checkpoint:
            plan = make_plan(checkpoint, config)
            paths = resolve_output(out, formats, checkpoint.files.model_id)
            Console(highlight=False).print(plan_text(plan, paths, estimate_seconds(plan)))
        return
    run = run_analysis(
        model,
        out=out,
        formats=formats,
        revision=revision,
        config=config,
        resume=resume,
        progress=watch(quiet),
    )
    table, _, meta = read_table(run.meta_path)
    title = f"{meta['model']['id']} at {meta['model']['revision']}"
    rows = table.to_pylist()
    console.print(summary_table(rows, title))
    statuses = ", ".join(f"{n} {status}" for status, n in meta["rows_by_status"].items())
    console.print(
        f"{table.num_rows} rows ({statuses}) in {sum(meta['seconds'][s] for s in _STAGES):.1f} s, "
        f"{meta['peak_process_memory'] / 1e6:.0f} MB peak, {meta['backend_reason']}"
    )
    console.print(cost_text(meta))
    if any(row["status"] == "skipped" for row in rows):
        console.print(skipped_text(rows))
    for path in (*run.outputs, run.meta_path):
        console.print(f"  {path}", soft_wrap=True, markup=False)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
