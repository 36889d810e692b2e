"""`mlx-probe budget MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import MofNCompleteColumn

from mlx_probe.core.language import tr

from .command import Command
from .console import output
from .counting_bar import counting_bar
from .document import json_option, print_document
from .options import (
    SIZE,
    config_option,
    device_option,
    format_option,
    model_argument,
    quiet_option,
    resume_option,
)

__all__ = ["budget"]


class _Kinds(click.ParamType[tuple[str, ...]]):
    """Kinds of choices, with commas between them."""

    name = "kinds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        kinds = tuple(dict.fromkeys(each.strip() for each in str(value).split(",")))
        if unknown := [each for each in kinds if each not in ("bits", "rank")]:
            self.fail(f"{unknown[0]!r} is neither bits nor rank", param, ctx)
        return kinds


@click.command(
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe budget Qwen/Qwen3-0.6B --size 400MB",
        "mlx-probe budget ./my-model --error 0.05 --kinds bits --group 64",
        "mlx-probe budget ./my-model --energy 0.99 --kinds rank --out ./budget --json",
    ),
)
@model_argument
@click.option(
    "--energy",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Every matrix keeps this share of its squared norm at least, in the fewest bytes.",
)
@click.option(
    "--error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Frobenius error of all matrices together, relative to their norm, at most; in the "
    "fewest bytes.",
)
@click.option(
    "--size",
    type=SIZE,
    metavar="SIZE",
    help="Size of the files with weights at most, such as 4GB; with the least error.",
)
@click.option(
    "--kinds",
    type=_Kinds(),
    metavar="KIND,...",
    default="bits,rank",
    help="What may be done to a matrix: quantize it, cut it to a rank, or both.",
)
@click.option(
    "--bits",
    multiple=True,
    type=click.Choice(["2", "3", "4", "5", "6", "8"]),
    default=("2", "3", "4", "5", "6", "8"),
    help="Bits to choose among; may be repeated.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    type=click.Choice(["32", "64", "128"]),
    default=("32", "64", "128"),
    help="Elements that share scale and bias in the mode affine; may be repeated.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["affine", "mxfp4", "nvfp4", "mxfp8"]),
    default=("affine",),
    help="MLX's modes to choose among; may be repeated.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    help="Type of scales, factors and what is kept; auto leaves the types as they are.",
)
@click.option(
    "--run",
    metavar="RUN",
    help="Finished run of `analyze` on MODEL, whose singular values are taken.",
)
@device_option("Where matrices are rounded; auto takes the GPU where there is one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the table of choices and what was measured; another goal begins with it.",
)
@format_option
@resume_option
@config_option
@json_option
@quiet_option
def budget(
    model: str,
    energy: float | None,
    error: float | None,
    size: int | None,
    kinds: tuple[Any, ...],
    bits: tuple[str, ...],
    groups: tuple[str, ...],
    modes: tuple[str, ...],
    dtype: str,
    run: str | None,
    device: Any,
    out: Path | None,
    formats: tuple[str, ...],
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Choose for every matrix of MODEL how many bits or which rank it gets, under a budget.

    Give one of --energy, --error and --size. Every matrix that mlx-lm quantizes may be kept,
    quantized in one of MLX's ways, or cut to two factors of a lower rank. The error of each is
    measured: by rounding, and from the singular values. The choice of all of them together is
    the best there is, or says how far from it it can be at most.

    Errors are Frobenius errors of the weights, not of the answers. Sizes are those of the files
    that an export writes, to the byte. Where nothing is saved, the reason is named.
    """
    from mlx_probe.lab.budget.document import budget_document
    from mlx_probe.lab.budget.plan import plan_budget
    from mlx_probe.lab.budget.records import Goal
    from mlx_probe.lab.budget.run import run_budget
    from mlx_probe.report.terminal.budget import budget_text

    goal = Goal(energy, error, size)
    settings: dict[str, Any] = {
        "kinds": kinds,
        "bits": tuple(map(int, bits)),
        "groups": tuple(map(int, groups)),
        "modes": modes,
        "dtype": dtype,
        "run": run,
        "device": device,
    }
    with counting_bar(tr("matrices"), MofNCompleteColumn(), quiet or as_json) as on_matrix:
        if out is None:
            plan = plan_budget(model, goal, on_matrix=on_matrix, **settings)
        else:
            plan = run_budget(
                model,
                goal,
                out,
                formats=formats,
                resume=resume,
                on_matrix=on_matrix,
                **settings,
            )
    document = budget_document(plan, None if out is None else str(out))
    if as_json:
        print_document(document)
    elif not quiet:
        output().print(budget_text(document))
