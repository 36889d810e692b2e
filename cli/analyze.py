"""`mlx-probe analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.analysis.analyze import analyze as run_analysis
from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.core.counts import rows_text
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.monitor.watch import WatchConfig
from mlx_probe.runs.run import Run

from .analysis_options import analysis_options
from .command import Command
from .document import json_option, print_document
from .incomplete import allow_unknown_option, refuse_unread
from .options import (
    cluster_options,
    config_option,
    format_option,
    model_argument,
    out_option,
    overwrite_option,
    quiet_option,
    resume_option,
    spread_over,
    watch_options,
)
from .progress import fetching, watch

__all__ = ["analyze"]

# The phases of a run's time. "open" may include a download.
_STAGES = ("measure", "validate", "write")
# Findings at the end of a run.
_MOST_FINDINGS = 5


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe analyze Qwen/Qwen3-0.6B",
        "mlx-probe analyze ./my-model --metrics full --sample 'layers=every:4|experts=8'",
        "mlx-probe analyze ./my-model --include '*attn*' --cluster tcp://studio-1:8786",
    ),
)
@model_argument
@out_option("data/outputs/<model>/<time>/")
@format_option
@analysis_options
@watch_options
@cluster_options
@config_option
@resume_option
@overwrite_option
@allow_unknown_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what it would do and what that would take, as `mlx-probe plan` does.",
)
@json_option
@quiet_option
def analyze(
    model: str,
    out: Path | None,
    formats: tuple[str, ...],
    revision: str | None,
    resume: bool,
    overwrite: bool,
    allow_unknown: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    alert: tuple[str, ...],
    prometheus: int,
    cluster: str | None,
    model_paths: tuple[str, ...],
    full_hash: bool,
    **settings: Any,
) -> None:
    """Measure every tensor of MODEL: moments, sparsity, exact spectrum and rank.

    Writes one row for each tensor as CSV, JSONL or Parquet, with run_meta.json and a log. An
    interrupted run goes on where it stopped when the same command is given again.

    Every option can also be set by an environment variable, MLX_PROBE_ANALYZE_WORKERS=2 for
    --workers, or in a YAML file named by --config.
    """
    config = AnalyzeConfig(**settings)
    spread = spread_over(cluster, model_paths, full_hash)
    if dry_run and spread:
        raise ConfigError(
            "--dry-run says what one machine would take, and asks no cluster",
            "Leave --cluster out; `mlx-probe cluster check ADDRESS --model MODEL` shows its "
            "workers",
        )
    # What prints is imported when there is something to print: the computing starts sooner.
    if dry_run:
        from mlx_probe.analysis.forecast.model import forecast_model
        from mlx_probe.report.terminal.forecast import forecast_text

        from .console import output

        forecast = forecast_model(
            model, out=out, formats=formats, revision=revision, config=config, contexts=()
        )
        if as_json:
            print_document(forecast.describe())
        else:
            output().print(forecast_text(forecast))
        if not forecast.fits:
            raise click.ClickException("it does not fit: see above")
        return
    run = run_analysis(
        model,
        out=out,
        formats=formats,
        revision=revision,
        config=config,
        watch=WatchConfig(alert=alert, prometheus=prometheus),
        resume=resume,
        overwrite=overwrite,
        progress=watch(quiet),
        fetching=fetching(quiet),
        cluster=spread,
    )
    if as_json:
        from mlx_probe.report.documents import run_document

        print_document(run_document(run))
    elif not quiet:
        _print_summary(run)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
    refuse_unread(run, allow_unknown)


def _print_summary(run: Run) -> None:
    """Print what a run found and took, and where it is."""
    from mlx_probe.analysis.findings import findings_of
    from mlx_probe.report.terminal.cost import cost_text
    from mlx_probe.report.terminal.findings import findings_text
    from mlx_probe.report.terminal.text import (
        printable,
        skipped_text,
        summary_table,
        warning_text,
    )
    from mlx_probe.runs.sample_line import sample_line

    from .console import output

    console = output()
    table, meta = run.table, run.meta
    assert table is not None  # of a run that was just made
    model = meta["model"]
    title = tr("{model} at {revision}", model=model["id"], revision=model["revision"])
    console.print(summary_table(table, title))
    statuses = enumerated(f"{n} {status}" for status, n in meta["rows_by_status"].items())
    console.print(
        tr(
            "{rows} ({statuses}) in {seconds} s, {size} MB peak, {backend}",
            rows=rows_text(table.num_rows),
            statuses=statuses,
            seconds=f"{sum(meta['seconds'][s] for s in _STAGES):.1f}",
            size=f"{meta['peak_process_memory'] / 1e6:.0f}",
            backend=translated(meta["backend_reason"]),
        )
    )
    if meta["sample"]:
        console.print(printable(tr("sample: {text}", text=sample_line(meta["sample"]))))
    console.print(cost_text(meta))
    if "skipped" in meta["rows_by_status"]:
        console.print(skipped_text(table))
    if run.unread is not None:
        console.print(warning_text(run.unread), soft_wrap=True)
    # By the rules, not from the metadata, which are in English.
    console.print()
    of_sample = bool(meta["sample"])
    console.print(findings_text(findings_of(run), _MOST_FINDINGS, str(run.folder), of_sample))
    for path in (*run.outputs, run.meta_path):
        console.print(f"  {path}", soft_wrap=True, markup=False)
