"""A weight before and after an adapter, without forming the product of factors where there are any.

LoRA: W' = W + L R, scale included (Hu et al. 2021, arXiv 2106.09685). DoRA: line i of W' is
m_i (W + L R)_i / ||(W + L R)_i||, the lines being the layer's outputs (Liu et al. 2024, arXiv
2402.09353).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mlx_probe.analysis.compare.blocks import Floats, WeightReader, block_height, whole
from mlx_probe.analysis.compare.removed import NonfiniteError, removed_bytes, removed_product
from mlx_probe.checkpoint import Weight
from mlx_probe.checkpoint.adapters.protocol import Edit, Product, Transform, Update
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    from mlx_probe.analysis.compare.pair import Pair

__all__ = ["Adapted", "Adaption", "adapted_reader"]


@dataclass(frozen=True)
class Adaption:
    """What an adapter does to one weight of the base.

    Attributes:
        updates: The changes; several only if all are plain products, which add up.
        replaced: The tensor that takes the base's place before; None if the base stays.
    """

    updates: tuple[Update, ...]
    replaced: Weight | None = None

    @property
    def pieces(self) -> tuple[Weight, ...]:
        """The adapter's tensors that are read."""
        own = [piece for update in self.updates for piece in update.pieces.values()]
        return (*own, *([self.replaced] if self.replaced is not None else []))

    @property
    def rank(self) -> int | None:
        """Columns of the product's left factor, all changes together; None if it is none."""
        total = 0
        for update in self.updates:
            if update.rank is None:
                return None
            total += update.rank + (update.removed.count if update.removed else 0)
        return total

    @property
    def is_product(self) -> bool:
        """Whether the difference is a product of two small factors."""
        plain = not any(update.dora for update in self.updates)
        return plain and self.rank is not None and self.replaced is None

    def takes_whole(self, weight: Weight) -> bool:
        """Whether the weight must be in memory as a whole."""
        if weight.rows is None:
            return False
        return any(
            update.whole_cols if weight.tall else update.whole_rows for update in self.updates
        )

    def nbytes(self, weight: Weight) -> int:
        """Bytes that the change takes, beside the blocks of both sides."""
        own = sum(piece.numel for update in self.updates for piece in update.pieces.values())
        # The stored tensors; factors with the copies that a QR makes; a Kronecker product of a
        # small convolution.
        total = 4 * 8 * (own + (self.rank or 0) * (weight.short + weight.long))
        for update in self.updates:
            if update.removed is not None:
                total += removed_bytes(weight, update.removed)
        if self.takes_whole(weight):
            total += 6 * 8 * weight.numel
        return total

    def read(self, reader: WeightReader, meter: UsageMeter) -> Edit:
        """Read the adapter's tensors and make the change of them.

        Args:
            reader: Reads the base.
            meter: Counts what is read.

        Raises:
            CheckpointError: A file is closed, gone or changed.
            PackingError: The values do not make a change of this weight.
        """
        products = []
        for update in self.updates:
            pieces = {
                name: whole(piece, meter).reshape(piece.shape)
                for name, piece in update.pieces.items()
            }
            _refuse_nonfinite(pieces)
            change = update.build(pieces)
            if isinstance(change, Transform):
                return change
            if update.removed is not None:
                left, right = removed_product(reader, update.removed)
                change = Product(
                    np.hstack([change.left, -left]),
                    np.vstack([change.right, right]),
                    change.magnitude,
                    change.axis,
                )
            products.append(change)
        if len(products) == 1:
            return products[0]
        return Product(
            np.hstack([product.left for product in products]),
            np.vstack([product.right for product in products]),
        )


def _refuse_nonfinite(pieces: Mapping[str, Floats]) -> None:
    if not all(np.isfinite(piece).all() for piece in pieces.values()):
        raise NonfiniteError("the adapter's factors hold NaN or Inf")


@dataclass(frozen=True)
class Adapted:
    """Reads a base side by side with the same base plus an adapter.

    Attributes:
        a: The base.
        start: What the adapter changes: the base, or a tensor that takes its place.
        edit: The change.
    """

    a: WeightReader
    start: WeightReader
    edit: Edit

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A, and of A with the adapter; a product is formed block by block."""
        if isinstance(self.edit, Product):
            yield from self._with_product(self.edit)
        elif self._takes_whole:
            yield from self._from_whole
        else:
            first = 0
            for x, z in self._lines():
                yield x, self._applied(self.edit, z, first)
                first += len(x)

    def differences(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A, and of what a plain product adds to them."""
        assert isinstance(self.edit, Product)
        along, across = self._factors(self.edit)
        first = 0
        for x in self.a.lines():
            yield x, along[first : first + len(x)] @ across
            first += len(x)

    def _lines(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A, and of what is changed."""
        if self.start is self.a:
            yield from ((x, x) for x in self.a.lines())
        else:
            yield from zip(self.a.lines(), self.start.lines(), strict=True)

    def _factors(self, product: Product) -> tuple[Floats, Floats]:
        """The factor along the lines, and the one across."""
        tall = self.a.weight.tall
        return (product.left, product.right) if tall else (product.right.T, product.left.T)

    def _with_product(self, product: Product) -> Iterator[tuple[Floats, Floats]]:
        magnitude = product.magnitude
        # A line of a wide matrix is a column.
        by_line = (product.axis == 0) == self.a.weight.tall
        # The norms across the lines are known only at the end.
        gains = None
        if magnitude is not None and not by_line:
            gains = _divided(magnitude, self._norms(product))
        first = 0
        for x, sums in self._sums(product):
            if magnitude is not None and by_line:
                norms = np.sqrt(np.square(sums).sum(axis=1))
                sums *= _divided(magnitude[first : first + len(x)], norms)[:, None]
            elif gains is not None:
                sums *= gains
            first += len(x)
            yield x, sums

    def _sums(self, product: Product) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A, and of what is changed plus L R."""
        along, across = self._factors(product)
        first = 0
        for x, z in self._lines():
            yield x, z + along[first : first + len(x)] @ across
            first += len(x)

    def _norms(self, product: Product) -> Floats:
        energy = np.zeros(self.a.weight.short)
        for _, sums in self._sums(product):
            energy += np.square(sums).sum(axis=0)
        return np.sqrt(energy)

    @property
    def _takes_whole(self) -> bool:
        weight, change = self.a.weight, self.edit
        assert isinstance(change, Transform)
        if weight.rows is None:
            return False
        return change.whole_cols if weight.tall else change.whole_rows

    def _applied(self, change: Transform, lines: Floats, first: int) -> Floats:
        """The new values of some lines."""
        weight = self.a.weight
        here = slice(first, first + len(lines))
        if weight.rows is None:
            return change.apply(lines[:, None], here, slice(0, 1))[:, 0]
        if weight.tall:
            return change.apply(lines, here, slice(0, weight.short))
        return np.ascontiguousarray(change.apply(lines.T, slice(0, weight.short), here).T)

    @cached_property
    def _from_whole(self) -> list[tuple[Floats, Floats]]:
        """Blocks of a matrix that is changed as a whole."""
        assert isinstance(self.edit, Transform)
        x, z = (np.concatenate(each) for each in zip(*self._lines(), strict=True))
        y = self._applied(self.edit, z, 0)
        height = block_height(self.a.weight)
        return [(x[i : i + height], y[i : i + height]) for i in range(0, len(x), height)]


def adapted_reader(pair: Pair, meter: UsageMeter) -> Adapted:
    """Reads a weight beside what an adapter makes of it, block by block.

    Args:
        pair: A pair with an adaption, without a status.
        meter: Counts what is read.

    Raises:
        CheckpointError: A file is closed, gone or changed.
        PackingError: An adapter's tensors do not make a change of this weight.
        SpectrumError: What an adapter takes out of the base cannot be computed.
    """
    assert pair.a is not None
    assert pair.adaption is not None
    a = WeightReader(pair.a, pair.interleaved_a, meter)
    replaced = pair.adaption.replaced
    start = a if replaced is None else WeightReader(replaced, 0, meter)
    return Adapted(a, start, pair.adaption.read(start, meter))


def _divided(magnitude: Floats, norms: Floats) -> Floats:
    """DoRA's gains; NaN for a line of zeros, whose direction is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(magnitude / np.where(norms == 0, np.nan, norms))
