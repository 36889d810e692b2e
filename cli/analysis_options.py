"""The options of an analysis: the same for `analyze` and for `plan`; `compare` has some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mlx_probe.analysis.config import SPECTRUM_MODES, AnalyzeConfig
from mlx_probe.analysis.sample import parse_sample
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.records import METRIC_LEVELS

from .options import SIZE, revision_option, workers_option

__all__ = ["analysis_options", "backend_options", "measuring_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

_DEFAULT = AnalyzeConfig()


class _SampleText(click.ParamType[str]):
    """A sample, refused before a model is fetched if it makes no sense."""

    name = "parts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(parse_sample(str(value)))


_BACKEND: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--backend",
        type=click.Choice(["auto", *BACKENDS]),
        default=_DEFAULT.backend,
        help="auto takes mlx when MLX has a GPU, numpy otherwise.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "gpu"]),
        default=_DEFAULT.device,
        help="Where the backend works on elements.",
    ),
)

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    *_BACKEND,
    click.option(
        "--metrics",
        type=click.Choice(METRIC_LEVELS),
        default=_DEFAULT.metrics,
        help="basic: moments and rank. standard: all that follows from the spectrum. full: also "
        "intervals, how the weights would survive quantization, heads and experts.",
    ),
    click.option(
        "--spectrum",
        type=click.Choice(SPECTRUM_MODES),
        default=_DEFAULT.spectrum,
        help="exact: all singular values. approx: a preview of large matrices, the leading 256 and "
        "estimates; columns that need the others stay empty.",
    ),
    click.option("--include", multiple=True, metavar="GLOB", help="Only tensors of such names."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="No tensors of such names."),
    click.option(
        "--sample",
        type=_SampleText(),
        default=_DEFAULT.sample,
        show_default=False,
        help="Measure a part: layers=every:N (and the last one) or layers=K, and experts=K of each "
        "layer; | between them needs quotes. The others are rows without numbers.",
    ),
    click.option(
        "--rank-tol",
        type=click.FloatRange(1e-9, 1, max_open=True),
        metavar="SHARE",
        default=_DEFAULT.rank_tol,
        help="rank counts singular values above this share of the largest.",
    ),
    click.option(
        "--zero-epsilon",
        type=click.FloatRange(0),
        metavar="EPSILON",
        default=_DEFAULT.zero_epsilon,
        help="sparsity counts magnitudes up to this.",
    ),
    workers_option("Weights"),
    click.option(
        "--memory-limit",
        type=SIZE,
        default=_DEFAULT.memory_limit,
        help="Memory for the whole process, such as 600MB; 0 takes four fifths of what is free.",
    ),
    revision_option,
    click.option(
        "--seed",
        type=int,
        metavar="N",
        default=_DEFAULT.seed,
        help="Chooses the experts of a sample, the tensors that the final spot check recomputes, "
        "the random vectors of approximate spectra, and the resamples behind intervals.",
    ),
    click.option(
        "--save-spectra/--no-save-spectra",
        default=_DEFAULT.save_spectra,
        help="Keep all singular values in spectra.parquet, for plots.",
    ),
)


def analysis_options(command: Command) -> Command:
    """Every option of `AnalyzeConfig`, and --revision."""
    return _with(_OPTIONS, command)


def measuring_options(command: Command) -> Command:
    """Every option of `AnalyzeConfig`, where revisions are named in another way."""
    return _with(tuple(option for option in _OPTIONS if option is not revision_option), command)


def backend_options(command: Command) -> Command:
    """--backend and --device, for other commands that work on elements."""
    return _with(_BACKEND, command)


def _with(options: tuple[Callable[[Any], Any], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
