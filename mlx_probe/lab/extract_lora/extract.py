"""A comparison that leaves an adapter as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlx_probe.analysis.compare.compare import compare
from mlx_probe.lab.extract_lora.config import ExtractConfig, refuse_nonsense
from mlx_probe.lab.extract_lora.maker import AdapterMaker
from mlx_probe.runs.run import Run

__all__ = ["extract_lora"]


def extract_lora(
    a: str | Path,
    b: str | Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    dtype: str = "float32",
    modules_to_save: bool = False,
    **options: Any,
) -> Run:
    """Compare two models and write their difference as an adapter of the first.

    Each matrix of B - A becomes the product of two factors, the closest one of its rank. The run
    folder has, beside the comparison, ``adapter/peft`` and ``adapter/mlx-lm``, and a table with
    the error of each matrix. An interrupted call goes on after the last matrix.

    Example::

        run = mlx_probe.extract_lora("base", "tuned", rank=16, out="difference")

    Args:
        a: The base; see `compare`.
        b: The tuned model, or an adapter of ``a``.
        rank: Rank of each matrix's factors at most.
        energy: The smallest rank that keeps this share of the sum of squares of each difference.
        dtype: Type of the factors: float32, bfloat16 or float16.
        modules_to_save: Whether norms that changed are stored whole, in PEFT's form.
        **options: Arguments of `compare`, such as ``out`` and ``directions``.

    Returns:
        The run; ``meta["extraction"]`` has ranks, errors and folders.

    Raises:
        ConfigError: A value is outside its domain, or A is no model that adapters are for.
        CheckpointError: Nothing changed that an adapter can have.
        ProbeError: See `compare`.
    """
    config = ExtractConfig(rank, energy, dtype, modules_to_save)
    refuse_nonsense(config)
    return compare(a, b, companion=AdapterMaker(config, str(a)), **options)
