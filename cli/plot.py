"""`mlx-probe plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlx_probe.core.errors import ConfigError, ProbeError
from mlx_probe.core.language import tr
from mlx_probe.core.units import format_size

from .command import Command
from .document import json_option, print_document
from .options import complete_metrics

__all__ = ["plot"]

# As in `mlx_probe.report.figures`, which a test compares: help imports no pandas.
_VIEWS = ("lines", "map", "distribution", "spectrum", "steps")
_TABLES = ("params", "heads", "experts")
_OVER = ("step", "tokens", "seconds")
# A small figure by mistake is a waste of a minute; a poster needs no more.
_DPI = click.IntRange(36, 2400)


def _tensor_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from mlx_probe.runs.load import read_table

    # An option without its value leaves the arguments unparsed.
    run = ctx.params.get("run") or next(iter(ctx.args), None)
    if run is None:
        return []
    try:
        table, _, _ = read_table(run)
    except ProbeError:
        return []
    names = table["param_name"].to_pylist() if "param_name" in table.column_names else []
    return [name for name in dict.fromkeys(names) if name and name.startswith(incomplete)]


@click.command(
    cls=Command,
    examples=(
        "mlx-probe plot data/outputs/Qwen--Qwen3-0.6B alpha --view map -o alpha.pdf",
        "mlx-probe plot TRAINING_RUN val_bpb --over tokens -o bpb.svg",
        "mlx-probe plot RUN_A effective_rank --with RUN_B -o both.svg -o both.csv",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("metric", required=False, shell_complete=complete_metrics)
@click.option(
    "--out",
    "-o",
    "outs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The figure, as .svg, .pdf or .png, or its numbers as .csv; may be repeated.",
)
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Another run in the same figure; may be repeated.",
)
@click.option(
    "--view",
    type=click.Choice(_VIEWS),
    help="How it is drawn.  [default: lines; spectrum with --tensor; steps of training runs]",
)
@click.option(
    "--tensor",
    "tensors",
    multiple=True,
    metavar="NAME",
    shell_complete=_tensor_names,
    help="Draw the singular values of this matrix; may be repeated.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    help="Only these block types, heads or experts, such as q_proj or '*_proj'; may be repeated.",
)
@click.option(
    "--table",
    type=click.Choice(_TABLES),
    default=_TABLES[0],
    show_default=True,
    help="The table that METRIC is a column of.",
)
@click.option(
    "--over",
    type=click.Choice(_OVER),
    help="Of training runs: what the curve is drawn over.  [default: step]",
)
@click.option(
    "--log/--linear",
    "log",
    default=None,
    help="Scale of the values.  [default: log where they span two decades]",
)
@click.option(
    "--width",
    metavar="SIZE",
    default="page",
    show_default=True,
    help="Inches, or 85mm, 8.5cm, or column (3.25 inches) or page (6.75).",
)
@click.option(
    "--height",
    type=click.FloatRange(0.8, 60),
    metavar="INCHES",
    help="Inches.  [default: what suits the content]",
)
@click.option("--dpi", type=_DPI, default=300, show_default=True, help="Dots to the inch of a PNG.")
@click.option(
    "--title", metavar="TEXT", help="Above the figure; '' for none.  [default: the model's name]"
)
@json_option
def plot(
    run: Path,
    metric: str | None,
    outs: tuple[Path, ...],
    others: tuple[Path, ...],
    tensors: tuple[str, ...],
    dpi: int,
    as_json: bool,
    **choices: Any,
) -> None:
    """Draw METRIC, a column of a finished RUN, into a file without a browser.

    RUN is a run folder, its run_meta.json, or one of its tables; a model's folder means its
    latest run. With --tensor the singular values of a matrix are drawn, and METRIC is left out.
    Several runs (--with) are drawn over their relative depth. Marks are hollow, and cells of a
    map hatched, where a power-law fit is not reliable. Of a training run, which may still go on,
    METRIC is a column of its metrics, such as val_bpb, train_loss or learning_rate. Images need
    matplotlib: pip install 'mlx-probe[plot]'.
    """
    if not outs and not as_json:
        raise ConfigError(
            "nothing says where the figure goes",
            "Name a file, such as -o figure.svg, or use --json",
        )
    # pandas, half a second that no other command should pay.
    from mlx_probe.report.figures import IMAGES, plot, shows_language

    made = plot([run, *others], metric, tensor=tensors, **choices)
    for path in outs:
        made.check_path(path)
    for path in outs:
        made.save(path, dpi)
        size = format_size(path.stat().st_size)
        click.echo(f"{path} ({size})", err=as_json)
    images = [path for path in outs if path.suffix.lower()[1:] in IMAGES]
    if images and not shows_language():
        note = tr(
            "no font with Chinese characters was found, so that the labels are English; install "
            "Noto Sans CJK SC, for example"
        )
        click.echo(note, err=True)
    if as_json:
        print_document(made.describe())
