"""The tensors of a merged model, each made when its turn to be written comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare.adapted import adapted_reader
from mlx_probe.analysis.compare.blocks import WeightReader
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.checkpoint.parameter import PLAIN, Parameter
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.elements import converted, read_elements
from mlx_probe.lab.merge.changes import Changes
from mlx_probe.lab.stored_bytes import stored_bytes
from mlx_probe.lab.tensor_stream import StoredTensor
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["merged_tensors"]


def merged_tensors(
    base: Checkpoint,
    changes: Mapping[str, Changes],
    dtype: str | None,
    unpacked: str,
    meter: UsageMeter,
    on_bytes: Callable[[int], None],
) -> Iterator[StoredTensor]:
    """Every parameter of the base, with the adapter's changes.

    A parameter that neither changes nor is packed is copied byte by byte. A changed one is
    computed in float64 and rounded once. A matrix at a time is in memory.

    Args:
        base: The model.
        changes: What changes, by name.
        dtype: Type of all parameters of floats; None for the one that each is stored in.
        unpacked: Type of packed parameters where ``dtype`` is None.
        meter: Counts what is read.
        on_bytes: Called with the bytes that were made.
    """
    weights: defaultdict[str, list[Weight]] = defaultdict(list)
    for weight in base.weights():
        if weight.part is None:
            weights[weight.name].append(weight)
    for parameter in base.parameters:
        kind = _dtype(parameter, dtype, unpacked)
        change = changes.get(parameter.name)
        source = _Source(parameter, weights[parameter.name], change, kind, meter, on_bytes)
        size = prod(parameter.shape) * DTYPES[kind].itemsize if kind in DTYPES else parameter.nbytes
        yield StoredTensor(parameter.name, kind, parameter.shape, size, source.data)


def _dtype(parameter: Parameter, dtype: str | None, unpacked: str) -> str:
    if parameter.packing != PLAIN:
        return dtype or unpacked
    is_float = parameter.dtype in DTYPES and DTYPES[parameter.dtype].kind == "float"
    return dtype if dtype is not None and is_float else parameter.dtype


class _Source:
    """Makes the bytes of one parameter."""

    def __init__(
        self,
        parameter: Parameter,
        weights: list[Weight],
        changes: Changes | None,
        dtype: str,
        meter: UsageMeter,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._parameter, self._weights, self._changes = parameter, weights, changes
        self._dtype, self._meter, self._on_bytes = dtype, meter, on_bytes

    def data(self) -> Iterator[memoryview]:
        """The bytes, matrix by matrix."""
        parameter = self._parameter
        same = parameter.packing == PLAIN and parameter.dtype == self._dtype
        pieces = self._stored() if self._changes is None and same else self._made()
        for piece in pieces:
            yield piece
            self._on_bytes(piece.nbytes)

    def _stored(self) -> Iterator[memoryview]:
        [tensor] = self._parameter.pieces
        yield from stored_bytes(tensor.shard, tensor.start, tensor.nbytes)

    def _made(self) -> Iterator[memoryview]:
        for weight in self._weights:
            words: Any = np.ascontiguousarray(self._words(weight))
            yield memoryview(words).cast("B")

    def _words(self, weight: Weight) -> NDArray[Any]:
        changes = self._changes
        if changes is None:
            return read_elements(weight, self._dtype)
        pair = changes.whole.get(weight.stack_index)
        if pair is not None:
            return self._changed(pair, pair.a or weight)
        words = read_elements(weight, self._dtype)
        for part in changes.parts.get(weight.stack_index, ()):
            assert part.a is not None
            assert part.a.part is not None
            height, width = part.a.extents
            rows, cols = part.a.part.source(slice(0, height), slice(0, width))
            words[rows, cols] = self._changed(part, part.a)
        return words

    def _changed(self, pair: Pair, weight: Weight) -> NDArray[Any]:
        """Elements of a matrix or vector that the adapter changes or replaces."""
        if pair.adaption is None:
            assert pair.b is not None
            blocks = WeightReader(pair.b, 0, self._meter).lines()
        else:
            blocks = (block for _, block in adapted_reader(pair, self._meter).blocks())
        rows, columns = weight.extents
        is_matrix = weight.rows is not None
        words: NDArray[Any] = np.empty((rows, columns), DTYPES[self._dtype].storage)
        first = 0
        for lines in blocks:
            if not np.isfinite(lines).all():
                raise CheckpointError(
                    f"{weight.label} is not finite after the merge",
                    "`mlx-probe compare BASE ADAPTER` says where NaN or Inf come from",
                )
            stop = first + len(lines)
            block = converted(lines, self._dtype, weight.label)
            if not is_matrix:
                words[0, first:stop] = block
            elif weight.tall:
                words[first:stop] = block
            else:
                words[:, first:stop] = block.T
            first = stop
        return words.reshape(weight.shape)
