"""The same elements of a model and of those that it may be a merge of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare.matching import match_tensors
from mlx_probe.analysis.compare.pair import shape_text
from mlx_probe.analysis.lineage.merge_fit import TensorSample
from mlx_probe.analysis.lineage.storage_noise import packed_noise, rounding_noise, value_format

if TYPE_CHECKING:
    from mlx_probe.analysis.lineage.fingerprint import Fingerprint, Sampled

__all__ = ["MergeSamples", "merge_samples"]

# Elements of a tensor that weights are computed from.
_MOST = 1 << 15


@dataclass(frozen=True)
class MergeSamples:
    """What a model and its possible parents have in common.

    Attributes:
        tensors: Tensors that all of them have, in the child's order.
        left_out: The child's other tensors, with the reason.
    """

    tensors: tuple[TensorSample, ...]
    left_out: Mapping[str, str]


def merge_samples(child: Fingerprint, parents: Sequence[Fingerprint]) -> MergeSamples:
    """Match the tensors of several models, by name and role as `compare` does.

    Args:
        child: The model.
        parents: The others; their samples were read with the child's settings.
    """
    ours = [each.named for each in child.sampled]
    matches = [match_tensors(ours, [each.named for each in p.sampled]) for p in parents]
    tensors, left_out = list[TensorSample](), dict(child.left_out)
    for i, mine in enumerate(child.sampled):
        theirs = list["Sampled"]()
        for parent, match in zip(parents, matches, strict=True):
            if i not in match:
                left_out[mine.named.name] = f"{parent.model} has no such tensor"
                break
            other = parent.sampled[match[i][0]]
            if other.shape != mine.shape:
                left_out[mine.named.name] = (
                    f"{shape_text(other.shape)} in {parent.model}, {shape_text(mine.shape)} here"
                )
                break
            theirs.append(other)
        else:
            tensors.append(_sample(mine, theirs))
    return MergeSamples(tuple(tensors), left_out)


def _sample(mine: Sampled, theirs: Sequence[Sampled]) -> TensorSample:
    everyone = [mine, *theirs]
    rows = reduce(np.intersect1d, [each.rows for each in everyone])
    arrays = [
        each.values
        if len(rows) == len(each.rows)
        else each.values[np.searchsorted(each.rows, rows)]
        for each in everyone
    ]
    noises = [_packed(e, x) if e.packed else 0.0 for e, x in zip(everyone, arrays, strict=True)]
    # Every so many elements: more of them would make the errors smaller than anybody asks.
    step = -(-arrays[0].size // _MOST)
    flat = [x.ravel()[::step] for x in arrays]
    own = flat[0].astype(np.float64)
    form = None if mine.packed else value_format(own)
    return TensorSample(
        name=mine.named.name,
        layer=mine.layer,
        component=str(mine.named.role[1]),
        child=flat[0],
        parents=tuple(flat[1:]),
        noise=noises[0] if form is None else rounding_noise(own, form),
        parent_noise=tuple(noises[1:]),
        form=form,
        complete=step == 1 and all(each.complete for each in everyone),
    )


def _packed(each: Sampled, x: NDArray[np.float32]) -> float:
    stored = each.stored.lower()
    return packed_noise(x.astype(np.float64), each.bits, "fp8" in stored or "f8_" in stored)
