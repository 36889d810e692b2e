"""The tensors of a mixture with fewer experts, each made when its turn to be written comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Protocol

from mlx_probe.core.records import TensorInfo
from mlx_probe.lab.moe.reduce.mixture import Layer, Mixture
from mlx_probe.lab.stored_bytes import stored_bytes
from mlx_probe.lab.tensor_stream import StoredTensor

__all__ = ["Averages", "Groups", "reduced_tensors"]

# Of each layer, by its number: the old experts of each new one.
Groups = Mapping[int, Sequence[Sequence[int]]]


class Averages(Protocol):
    """Makes what several experts become."""

    def __call__(self, tensor: TensorInfo, layer: int, group: Sequence[int]) -> memoryview:
        """The part of one new expert.

        Args:
            tensor: That of the group's first expert, or one with a line for each expert.
            layer: Number of the layer.
            group: The old experts, two or more.
        """


def reduced_tensors(
    mixture: Mixture,
    groups: Groups,
    averages: Averages | None,
    on_bytes: Callable[[int], None],
) -> Iterator[StoredTensor]:
    """Every tensor of the smaller mixture.

    What is one old expert, or one line of a router, keeps every bit, packed or not: its bytes are
    copied. So do all other tensors. A part of one expert is in memory at a time.

    Args:
        mixture: The mixture.
        groups: What becomes of the experts of each layer.
        averages: Makes groups of several; None where there are none.
        on_bytes: Called with the bytes that were made.
    """

    def stored(
        name: str, like: TensorInfo, shape: tuple[int, ...], pieces: _Pieces
    ) -> StoredTensor:
        def data() -> Iterator[memoryview]:
            for piece in pieces():
                yield piece
                on_bytes(piece.nbytes)

        lines = prod(like.shape[:1])
        size = like.nbytes if shape == like.shape else like.nbytes // lines * shape[0]
        return StoredTensor(name, like.dtype, shape, size, data)

    for tensor in mixture.others:
        yield stored(tensor.name, tensor, tensor.shape, _whole(tensor))
    for number, layer in mixture.layers.items():
        for new, group in enumerate(groups[number]):
            for rest in layer.experts[group[0]] if layer.experts else ():
                first = layer.experts[group[0]][rest]
                name = f"{layer.prefix}experts.{new}.{rest}"
                yield stored(name, first, first.shape, _one(first, number, group, averages))
        for tensor in layer.stacked:
            shape = (len(groups[number]), *tensor.shape[1:])
            pieces = _lines(tensor, layer, number, groups[number], averages)
            yield stored(tensor.name, tensor, shape, pieces)


_Pieces = Callable[[], Iterator[memoryview]]


def _whole(tensor: TensorInfo) -> _Pieces:
    return lambda: stored_bytes(tensor.shard, tensor.start, tensor.nbytes)


def _one(
    tensor: TensorInfo, layer: int, group: Sequence[int], averages: Averages | None
) -> _Pieces:
    if len(group) == 1:
        return _whole(tensor)
    assert averages is not None
    return lambda: iter((averages(tensor, layer, group),))


def _lines(
    tensor: TensorInfo,
    layer: Layer,
    number: int,
    groups: Sequence[Sequence[int]],
    averages: Averages | None,
) -> _Pieces:
    """The parts of all new experts, one after the other."""
    size = tensor.nbytes // tensor.shape[0]

    def pieces() -> Iterator[memoryview]:
        for group in groups:
            if len(group) == 1:
                yield from stored_bytes(tensor.shard, tensor.start + group[0] * size, size)
            else:
                assert averages is not None
                yield averages(tensor, number, group)

    return pieces
