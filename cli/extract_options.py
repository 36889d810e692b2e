"""Options of `mlx-probe compare` that make an adapter of the difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from mlx_probe.runs.run import Run

    from .options import Command

__all__ = ["extract_options", "extracting"]

# As `mlx_probe.lab.derived_model.DTYPES` has them, without an import of the lab for --help.
_DTYPES = ("float32", "bfloat16", "float16")


def extract_options(command: Command) -> Command:
    """--extract-lora, --energy, --adapter-dtype and --modules-to-save."""
    options = (
        click.option(
            "--extract-lora",
            type=click.IntRange(1),
            metavar="RANK",
            help="Write the difference as an adapter of A, too: the best factors of this rank for "
            "each matrix, for PEFT and for mlx-lm.",
        ),
        click.option(
            "--energy",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            metavar="SHARE",
            help="The same with the smallest rank of each matrix that keeps this share of the sum "
            "of squares of its change; with --extract-lora at most that rank.",
        ),
        click.option(
            "--adapter-dtype",
            type=click.Choice(_DTYPES),
            default=_DTYPES[0],
            help="Type of the adapter's factors.",
        ),
        click.option(
            "--modules-to-save",
            is_flag=True,
            help="Store norms that changed in PEFT's adapter as a whole.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def extracting(settings: dict[str, Any]) -> tuple[Callable[..., Run], Mapping[str, Any]]:
    """What runs the comparison, with the arguments that it takes more; options are taken out.

    Args:
        settings: The command's options by name.

    Raises:
        ConfigError: An option of the adapter without one that asks for it.
    """
    rank, energy = settings.pop("extract_lora"), settings.pop("energy")
    dtype, whole = settings.pop("adapter_dtype"), settings.pop("modules_to_save")
    if rank is None and energy is None:
        if whole or dtype != _DTYPES[0]:
            name = "--modules-to-save" if whole else "--adapter-dtype"
            raise ConfigError(
                f"{name} is of an adapter, and none is extracted", "Add --extract-lora RANK"
            )
        from mlx_probe.analysis.compare.compare import compare

        return compare, {}
    from mlx_probe.lab.extract_lora.extract import extract_lora

    return extract_lora, {
        "rank": rank,
        "energy": energy,
        "dtype": dtype,
        "modules_to_save": whole,
    }
