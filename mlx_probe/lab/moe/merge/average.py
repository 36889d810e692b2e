"""What several experts become: their mean, with hidden units matched to those of the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.side_tables.elements import read_into
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.elements import converted
from mlx_probe.lab.stored_bytes import stored_bytes

if TYPE_CHECKING:
    from mlx_probe.analysis.mixture.layer import MixtureLayer
    from mlx_probe.checkpoint import Weight
    from mlx_probe.core.records import TensorInfo
    from mlx_probe.lab.moe.merge.groups import NearDuplicates
    from mlx_probe.lab.moe.reduce.mixture import Mixture

__all__ = ["MeanExperts", "require_plain"]

_PLAIN = ("F32", "F16", "BF16")


def require_plain(mixture: Mixture) -> None:
    """Refuse experts of which no mean can be made.

    Raises:
        ConfigError: They are packed, have biases, or a router that knows groups.
    """
    if mixture.groups > 1:
        raise ConfigError(
            f"the router chooses {mixture.kept_groups} of {mixture.groups} groups of experts: one "
            "made of two groups has no group",
            "Give a mixture without groups, or `mlx-probe moe prune`",
        )
    for layer in mixture.layers.values():
        tensors = [tensor for expert in layer.experts for tensor in expert.values()]
        tensors += layer.stacked
        for tensor in tensors:
            name = tensor.name[len(layer.prefix) :]
            if tensor.dtype not in _PLAIN:
                raise ConfigError(
                    f"{tensor.name} is stored as {tensor.dtype}: packed experts have no mean",
                    "Give the mixture with its original weights; `mlx_lm.convert --dequantize` "
                    "unpacks one of mlx-lm",
                )
            if name.endswith("bias") and not name.startswith(mixture.family.router):
                raise ConfigError(
                    f"{tensor.name}: experts with biases are not matched here",
                    "Give a mixture whose experts have none, or `mlx-probe moe prune`",
                )


class MeanExperts:
    """Makes the tensors of experts that are the mean of several; see `Averages`.

    Matrices are added in float64 and rounded once. A row of the router is the mean of the rows: in
    a softmax the new expert has the geometric mean of the scores. So is what is added to it.

    Args:
        layers: The layers, by number.
        alike: Near-duplicates of each.
    """

    def __init__(
        self, layers: Mapping[int, MixtureLayer], alike: Mapping[int, NearDuplicates]
    ) -> None:
        self._layers, self._alike = layers, alike

    def __call__(self, tensor: TensorInfo, layer: int, group: Sequence[int]) -> memoryview:
        """The part of one new expert."""
        kinds = [
            each
            for each in self._layers[layer].groups.values()
            if each.members[group[0]].name == tensor.name
        ]
        if not kinds:
            words = _mean_line(tensor, group)
        else:
            # A stack has an axis more than the matrices of its experts.
            words = np.empty(tensor.shape[-2:], DTYPES[tensor.dtype].storage)
            for each in kinds:
                whole = each.members[group[0]]
                mean = self._mean(layer, [each.members[i] for i in group], group, 1 - each.axis)
                part = converted(mean, tensor.dtype, tensor.name)
                if whole.part is None:
                    words[...] = part
                else:
                    height, width = whole.extents
                    rows, cols = whole.part.source(slice(0, height), slice(0, width))
                    words[rows, cols] = part
        made: Any = np.ascontiguousarray(words)
        return memoryview(made).cast("B")

    def _mean(
        self, layer: int, members: Sequence[Weight], group: Sequence[int], axis: int
    ) -> NDArray[np.float64]:
        """The mean of matrices whose hidden units are along ``axis``."""
        total = np.zeros(members[0].shape)
        values = np.empty(members[0].shape)
        for expert, weight in zip(group, members, strict=True):
            read_into(weight, values)
            order = self._alike[layer].orders[group[0], expert] if expert != group[0] else None
            total += values if order is None else np.take(values, order, axis=axis)
        return total / len(members)


def _mean_line(tensor: TensorInfo, group: Sequence[int]) -> NDArray[Any]:
    """The mean of some lines along the first axis."""
    size = tensor.nbytes // tensor.shape[0]
    lines = []
    for expert in group:
        data = b"".join(stored_bytes(tensor.shard, tensor.start + expert * size, size))
        words = np.frombuffer(data, DTYPES[tensor.dtype].storage)
        lines.append(decode(words, tensor.dtype).astype(np.float64))
    return converted(np.mean(lines, axis=0), tensor.dtype, tensor.name)
