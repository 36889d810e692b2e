"""`mlx-probe series`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.series.config import SeriesConfig
from mlx_probe.core.errors import ConfigError
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.monitor.watch import WatchConfig

from .analysis_options import measuring_options
from .command import Command
from .document import json_option, print_document
from .options import (
    DURATION,
    complete_files,
    complete_metrics,
    config_option,
    format_option,
    overwrite_option,
    quiet_option,
    watch_options,
)
from .series_progress import series_progress

__all__ = ["series"]

_DEFAULT = SeriesConfig()


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe series ./runs/tuned --out ./over-time",
        "mlx-probe series ./checkpoints --out ./over-time --follow --until 20000",
        "mlx-probe series EleutherAI/pythia-70m@step1000,step2000 --out ./pythia",
    ),
)
@click.argument("checkpoints", nargs=-1, required=True, shell_complete=complete_files)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder of the series: new, or that of an earlier call, which goes on.",
)
@click.option(
    "--revisions",
    multiple=True,
    metavar="GLOB",
    help="Of a repository on the Hub: the branches and tags of such names; may be repeated.",
)
@click.option(
    "--steps",
    default=_DEFAULT.steps,
    show_default=False,
    metavar="TEMPLATE",
    help="Where a name has its step, as in 'stage1-step{step}-*'; or a number for each checkpoint "
    "that is named, with commas.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    show_default="rank, effective_rank, stable_rank, spectral_norm, rms and others",
    shell_complete=complete_metrics,
    help="A column whose changes and trends are looked for; may be repeated.",
)
@click.option(
    "--least",
    type=click.FloatRange(0),
    metavar="SHARE",
    default=_DEFAULT.least,
    help="Smallest change or trend that is said: .25 is a quarter more, or a fifth less.",
)
@click.option(
    "--follow", is_flag=True, help="Wait for new checkpoints, and measure them as they come."
)
@click.option(
    "--until",
    type=click.IntRange(0),
    metavar="STEP",
    help="With --follow: end when this step or a later one is measured.",
)
@click.option(
    "--idle",
    type=DURATION,
    metavar="TIME",
    help="With --follow: end after such a time without a new checkpoint, as 30m.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    default=10.0,
    help="With --follow: time between two looks at the checkpoints.",
)
@format_option
@measuring_options
@watch_options
@config_option
@overwrite_option
@json_option
@quiet_option
def series(
    checkpoints: tuple[str, ...],
    out: Path,
    revisions: tuple[str, ...],
    steps: str,
    columns: tuple[str, ...],
    least: float,
    follow: bool,
    until: int | None,
    idle: int | None,
    interval: float,
    formats: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    alert: tuple[str, ...],
    prometheus: int,
    **settings: Any,
) -> None:
    """Measure the CHECKPOINTS of one model, and say what happened when.

    CHECKPOINTS is a folder with checkpoints (checkpoint-100 of transformers, step-100 of
    `mlx-probe train`, 0000100_adapters.safetensors of mlx-lm ...), several models, or revisions
    of a repository on the Hub: owner/name@step1000,step2000, or owner/name with --revisions
    'step*'.

    Each checkpoint is measured once, as by `mlx-probe analyze`; the next call measures what is
    new or has changed, and goes on where it was interrupted. A checkpoint that is not complete
    is left for the next call. DIR gets one table over all steps, the changes of each tensor with
    their steps, findings, and report.html, a page with a slider over the steps.
    """
    if not follow and (until is not None or idle is not None):
        raise ConfigError("--until and --idle are for --follow", "Add --follow, or leave them out")
    # pyarrow and the engine, which a wrong option does not need.
    from mlx_probe.analysis.series.follow import follow_series
    from mlx_probe.analysis.series.series import measure_series

    config = SeriesConfig(
        revisions=revisions,
        steps=steps,
        columns=columns,
        least=least,
        formats=formats,
        analysis=AnalyzeConfig(**settings),
        watch=WatchConfig(alert=alert, prometheus=prometheus),
        overwrite=overwrite,
    )
    progress = series_progress(quiet)
    if follow:
        result = follow_series(
            checkpoints, out, config, progress, _publish, until=until, idle=idle, interval=interval
        )
        if result is None:
            raise click.Abort
    else:
        result = measure_series(checkpoints, out, config, progress, _publish)
    if as_json:
        print_document(result.describe())
    elif not quiet:
        from mlx_probe.report.terminal.series import series_text

        from .console import output

        output().print(series_text(result))
    if result.failures:
        raise click.ClickException(
            "the validation failed\n  " + plain("\n  ".join(result.failures))
        )


def _publish(folder: Path) -> None:
    """Draw the page."""
    from mlx_probe.report.html.write import write_report

    write_report(folder)
