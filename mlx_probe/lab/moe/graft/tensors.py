"""The tensors of a graft, each made when its turn to be written comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import Checkpoint
from mlx_probe.checkpoint.parameter import PLAIN
from mlx_probe.core.dtypes import DTYPES, decode
from mlx_probe.lab.elements import converted, read_elements
from mlx_probe.lab.moe.graft.config import GraftConfig, Sizes
from mlx_probe.lab.moe.graft.dense import EMBEDDING, HEAD, Dense
from mlx_probe.lab.moe.graft.renewal import renewed, renewed_units
from mlx_probe.lab.moe.graft.splits import Units
from mlx_probe.lab.tensor_stream import StoredTensor

__all__ = ["Grafter", "grafted_tensors"]

# Deviation of a router's first weights, as in both papers of copies.
_ROUTER = 0.02
# Draws of one seed that must not be the same numbers: see `renewal`, too.
_OF_ROUTER = 1
Words = NDArray[Any]


@dataclass(frozen=True)
class Grafter:
    """What a graft is made from.

    Attributes:
        model: The dense model's files.
        dense: What it is.
        config: What is wanted.
        sizes: Experts of each layer.
        units: Gives the hidden units of each expert of a layer, (experts, width).
        dtype: Type of all tensors; None for the one that each is stored in.
        unpacked: Type of packed ones where ``dtype`` is None.
    """

    model: Checkpoint
    dense: Dense
    config: GraftConfig
    sizes: Sizes
    units: Callable[[int], Units]
    dtype: str | None
    unpacked: str

    @property
    def factor(self) -> int:
        """What the down projections of a sum are multiplied by: the router's weights are 1 / N."""
        return self.sizes.experts if self.config.form == "sum" else 1


def grafted_tensors(
    graft: Grafter, stored: Iterable[StoredTensor], on_bytes: Callable[[int], None]
) -> Iterator[StoredTensor]:
    """Every tensor of the mixture; one feed-forward block at a time is in memory.

    They have to be asked for their bytes in the order of their names, as `write_shards` does: a
    block is read again where layers alternate.

    Args:
        graft: What it is made from.
        stored: Every tensor of the dense model, plain.
        on_bytes: Called with the bytes of experts and routers that were made.
    """
    dense, stock = graft.dense, graft.dense.stock
    kept = set(dense.kept)
    for tensor in stored:
        if tensor.name in kept:
            yield tensor
            if tensor.name == EMBEDDING and dense.tied and not stock.tied:
                yield replace(tensor, name=HEAD)
    reader = _BlockReader(graft)
    for layer in range(dense.layers):
        for expert in range(graft.sizes.experts):
            for matrix in range(3):
                shape = (graft.sizes.width, dense.dim)
                yield _stored(
                    stock.expert(layer, expert, matrix),
                    reader.kind(layer, matrix),
                    shape[::-1] if matrix == 2 else shape,
                    lambda at=(layer, expert, matrix): reader.words(*at),  # type: ignore[misc]
                    on_bytes,
                )
        yield _stored(
            stock.router(layer),
            reader.kind(layer, 0),
            (graft.sizes.experts, dense.dim),
            lambda layer=layer: _router(graft, layer, reader.kind(layer, 0)),  # type: ignore[misc]
            on_bytes,
        )


def _stored(
    name: str,
    kind: str,
    shape: tuple[int, ...],
    make: Callable[[], Words],
    on_bytes: Callable[[int], None],
) -> StoredTensor:
    def data() -> Iterator[memoryview]:
        words: Any = np.ascontiguousarray(make())
        piece = memoryview(words).cast("B")
        yield piece
        on_bytes(piece.nbytes)

    return StoredTensor(name, kind, shape, prod(shape) * DTYPES[kind].itemsize, data)


def _router(graft: Grafter, layer: int, kind: str) -> Words:
    shape = (graft.sizes.experts, graft.dense.dim)
    if graft.config.form == "sum":
        return np.zeros(shape, DTYPES[kind].storage)
    random = np.random.Generator(np.random.PCG64((graft.config.seed, _OF_ROUTER, layer)))
    values = random.normal(0, _ROUTER, shape)
    return converted(values, kind, graft.dense.stock.router(layer))


class _BlockReader:
    """Matrices of experts; the feed-forward block that they come from is kept."""

    def __init__(self, graft: Grafter) -> None:
        self._graft = graft
        self._layer = -1
        self._matrices: dict[int, Words] = {}

    def kind(self, layer: int, matrix: int) -> str:
        """The type that a matrix is written in."""
        parameter = self._graft.dense.blocks[layer][matrix].parameter
        if self._graft.dtype is not None:
            return self._graft.dtype
        if parameter.packing != PLAIN:
            return self._graft.unpacked
        return parameter.dtype if parameter.dtype in ("F32", "F16", "BF16") else "F32"

    def words(self, layer: int, expert: int, matrix: int) -> Words:
        """The elements of a matrix of an expert, as they are stored."""
        graft = self._graft
        whole, kind = self._whole(layer, matrix), self.kind(layer, matrix)
        name = graft.dense.stock.expert(layer, expert, matrix)
        if graft.config.form == "copy":
            return whole
        if graft.config.form == "drop":
            units = renewed_units(graft.config, graft.dense.hidden, layer, expert)
            draw = (graft.config.seed, layer, expert, matrix)
            return renewed(whole, kind, units, 1 if matrix == 2 else 0, draw, name)
        units = graft.units(layer)[expert]
        if matrix < 2:
            return whole[units]
        return converted(decode(whole[:, units], kind) * np.float64(graft.factor), kind, name)

    def _whole(self, layer: int, matrix: int) -> Words:
        if layer != self._layer:
            self._layer, self._matrices = layer, {}
        if matrix not in self._matrices:
            weight = self._graft.dense.blocks[layer][matrix]
            self._matrices[matrix] = read_elements(weight, self.kind(layer, matrix))
        return self._matrices[matrix]
