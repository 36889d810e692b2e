"""`mlx-probe budget MODEL`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import DownloadColumn, MofNCompleteColumn

from mlx_probe.core.errors import ConfigError
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

if TYPE_CHECKING:
    from mlx_probe.lab.budget.records import BudgetPlan

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
        "mlx-probe budget ./model --size 1GB --export ./smaller --text text.txt",
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
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the model with these choices to a folder: new, empty, or exported before.",
)
@click.option(
    "--text",
    metavar="SOURCE",
    help="With --export, compare how well a text is predicted before and after, and by the "
    "uniform quantization of the same size: files, folders, packages, data sets.",
)
@click.option(
    "--text-tokens",
    type=click.IntRange(0),
    default=4096,
    help="Tokens of the text to predict, at most; 0 for all.",
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
    export: Path | None,
    text: str | None,
    text_tokens: int,
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
    _refuse(export, text, out)
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
    if export is not None:
        document["exported"] = _exported(
            plan, export, text, text_tokens, document, quiet or as_json
        )
    if as_json:
        print_document(document)
    elif not quiet:
        output().print(budget_text(document))


def _refuse(export: Path | None, text: str | None, out: Path | None) -> None:
    """Refuse what cannot be written before anything is measured."""
    if export is None:
        if text is not None:
            raise ConfigError("--text without --export", "Give --export DIR, too")
        return
    from mlx_probe.lab.budget.export import refuse_export

    refuse_export(export, out)


def _exported(
    plan: BudgetPlan,
    export: Path,
    text: str | None,
    tokens: int,
    document: Mapping[str, Any],
    quiet: bool,
) -> dict[str, Any]:
    """The model that was written, for JSON."""
    from mlx_probe.lab.budget.export import export_budget
    from mlx_probe.lab.budget.perplexity import TextConfig

    config = None if text is None else TextConfig(text, tokens)
    with (
        counting_bar(tr("writing"), DownloadColumn(), quiet) as on_bytes,
        counting_bar(tr("tokens"), MofNCompleteColumn(), quiet or text is None) as on_tokens,
    ):
        return export_budget(plan, export, config, on_bytes, on_tokens, document).describe()
