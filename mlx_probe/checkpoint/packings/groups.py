"""Codes whose columns are scaled in groups: what GPTQ, AWQ and compressed-tensors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.protocol import Claim, Context, Piece, positions
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["OVERRIDES", "SCALE_DTYPES", "claim_qweight", "column_groups", "group_size"]

SCALE_DTYPES = ("F16", "BF16", "F32")
# Settings for single modules, of GPTQModel and AutoRound. With one of these keys the shapes
# overrule the settings of the model.
OVERRIDES = ("dynamic", "extra_config")


def claim_qweight(
    tensor: TensorInfo, context: Context, dtypes: Sequence[str] = ("I32",)
) -> Claim | None:
    """Words called ``qweight`` with their zero points, scales and order; None for anything else."""
    base = tensor.name.removesuffix("qweight")
    if tensor.dtype not in dtypes or base == tensor.name or base[-1:] not in ("", "."):
        return None
    others = context.find(f"{base}qzeros", f"{base}scales")
    order = context.find(f"{base}g_idx")
    if not others:
        return None
    # Writers without act-order may store an empty order.
    filled = tuple(piece for piece in order if piece.numel)
    extra = tuple(piece for piece in order if not piece.numel)
    return Claim(f"{base}weight", (tensor, *others, *filled), extra)


def group_size(name: str, cols: int, groups: int, settings: Mapping[str, Any]) -> int:
    """Columns that share a scale: config.json's ``group_size`` if it fits, else what fits.

    Args:
        name: The weight, for messages.
        cols: Columns of the logical matrix.
        groups: Number of groups.
        settings: config.json's ``quantization_config``, where a size of -1 means one group.

    Raises:
        PackingError: Settings and shapes contradict, or the groups would have different sizes.
    """
    given = settings.get("group_size", settings.get("q_group_size"))
    if given == -1:
        given = max(cols, 1)
    if type(given) is int and given > 0:
        # GPTQ's last group may be shorter.
        if -(-cols // given) == groups:
            return given
        if not any(key in settings for key in OVERRIDES):
            raise PackingError(
                f"{name}: {groups} groups of {given}, as config.json has it, are not {cols} columns"
            )
    elif given is not None:
        raise PackingError(f"{name}: config.json: group_size cannot be {given!r}")
    if not 0 < groups <= cols or cols % groups:
        raise PackingError(f"{name}: {cols} columns are not {groups} groups of one size")
    return cols // groups


def column_groups(
    order: Sequence[Piece], cols: slice, group: int, groups: int, name: str
) -> NDArray[np.intp]:
    """The group of each column.

    Args:
        order: ``g_idx``; empty if the groups follow each other.
        cols: The columns.
        group: Columns of a group.
        groups: Number of groups.
        name: The weight, for messages.

    Raises:
        PackingError: ``g_idx`` names a group that does not exist.
    """
    if not order:
        return positions(cols) // group
    numbers = order[0].words[cols].astype(np.intp)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= groups:
        wrong = low if low < 0 else high
        raise PackingError(f"{name}: g_idx names group {wrong} of {groups}")
    return numbers
