"""Fused matrices (query, key and value; gate and up), and the parts that they consist of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_probe.checkpoint.architecture import Architecture
from mlx_probe.checkpoint.layouts import gate_up_layout, qkv_layout
from mlx_probe.checkpoint.packings.protocol import Index, positions
from mlx_probe.core.records import Role

__all__ = ["Part", "Split", "split_of"]


@dataclass(frozen=True)
class Part:
    """The lines of a fused matrix that make up one logical matrix.

    The part has ``length`` of every ``period`` lines, starting at ``offset``.

    Attributes:
        name: Block type of the logical matrix ("q_proj").
        axis: 0 if the matrix is cut between its rows, 1 if between its columns.
        count: Lines of the part.
        period: Number of lines after which the parts repeat.
        offset: First line of the part within a period.
        length: Lines of the part in a period.
    """

    name: str
    axis: int
    count: int
    period: int
    offset: int
    length: int

    @property
    def contiguous(self) -> bool:
        """Whether the part is one run of lines."""
        return self.count == self.length

    def shape(self, rows: int, cols: int) -> tuple[int, int]:
        """Shape of the part, given the shape of the fused matrix."""
        return (self.count, cols) if self.axis == 0 else (rows, self.count)

    def source(self, rows: Index, cols: Index) -> tuple[Index, Index]:
        """Rows and columns in the fused matrix of a block of the part."""
        if self.axis == 0:
            return self._lines(rows), cols
        return rows, self._lines(cols)

    def _lines(self, lines: Index) -> Index:
        if self.contiguous and isinstance(lines, slice):
            return slice(lines.start + self.offset, lines.stop + self.offset)
        periods, rest = np.divmod(positions(lines), self.length)
        return periods * self.period + self.offset + rest


@dataclass(frozen=True)
class Split:
    """The logical matrices inside a weight.

    Attributes:
        parts: Empty if it is not fused, or is not split.
        problem: Why a fused matrix is not split; None if it is, or if it is not fused.
    """

    parts: tuple[Part, ...] = ()
    problem: str | None = None


def split_of(role: Role, shape: tuple[int, ...], packed: bool, architecture: Architecture) -> Split:
    """The logical matrices inside a fused one, by the model's configuration.

    Args:
        role: Role of the matrix.
        shape: Its (rows, cols).
        packed: Whether it is packed: then it can be cut between rows only.
        architecture: The model's type, numbers of heads and widths.

    Returns:
        Its parts, if `layouts` lists the model type and the parts' lines add up exactly to the
        matrix; otherwise why it is not split.
    """
    cut = _CUTS.get(role.block_type)
    if cut is None:
        return Split()
    if role.component in ("vision", "audio", "projector"):
        return Split(problem=f"the configuration is the language model's, not {role.component}'s")
    return cut(role, shape, packed, architecture)


def _qkv(role: Role, shape: tuple[int, ...], packed: bool, a: Architecture) -> Split:
    layout = qkv_layout(a)
    if layout is None:
        return _unknown(a)
    if a.heads is None or a.kv_heads is None or a.head_dim is None:
        return Split(problem="the model does not give one number and width of heads")
    heads, kv_heads = a.heads, a.heads if layout.turn == "head" else a.kv_heads
    turns = {"matrix": 1, "head": heads, "group": kv_heads, "shard": layout.shards}[layout.turn]
    total = (heads + 2 * kv_heads) * a.head_dim
    if heads % kv_heads or heads % turns or kv_heads % turns:
        return Split(problem=f"{heads} query and {kv_heads} key heads are not {turns} equal turns")
    # Lines of a turn.
    query, other = heads // turns * a.head_dim, kv_heads // turns * a.head_dim
    lengths = [query if name == "q_proj" else other for name in layout.order]
    return _cut(layout.order, lengths, turns, _axis(shape, total, packed), shape, total)


def _gate_up(role: Role, shape: tuple[int, ...], packed: bool, a: Architecture) -> Split:
    layout = gate_up_layout(a)
    if layout is None:
        return _unknown(a)
    width = a.intermediate_size
    if role.component == "moe":
        width = a.moe_intermediate_size or a.intermediate_size
    if width is None:
        return Split(problem="the model does not give one width of the MLP")
    turns = width if layout.alternating else 1
    lengths = [width // turns] * 2
    return _cut(layout.order, lengths, turns, _axis(shape, 2 * width, packed), shape, 2 * width)


_CUTS = {
    "qkv_proj": _qkv,
    "gate_up_proj": _gate_up,
    # So called where the gate is the second half.
    "up_gate_proj": _gate_up,
}


def _unknown(a: Architecture) -> Split:
    where = "llama.cpp" if "gguf" in a.flags else "this version"
    named = f"model type {a.model_type!r}" if a.model_type else "a model without a type"
    return Split(problem=f"{where} has no layout for {named}")


def _cut(
    names: Sequence[str],
    lengths: Sequence[int],
    turns: int,
    axis: int | None,
    shape: tuple[int, ...],
    total: int,
) -> Split:
    if axis is None:
        both = "both axes" if shape[0] == shape[1] == total else "neither axis"
        size = " x ".join(map(str, shape))
        return Split(problem=f"its parts are {total} lines, which fits {both} of {size}")
    offsets = itertools.accumulate(lengths, initial=0)
    period = sum(lengths)
    parts = tuple(
        Part(name, axis, length * turns, period, offset, length)
        for name, length, offset in zip(names, lengths, offsets, strict=False)
    )
    # Always in the same order of rows, whatever the order in the file.
    return Split(tuple(sorted(parts, key=lambda part: _ROWS.index(part.name))))


_ROWS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


def _axis(shape: tuple[int, ...], total: int, packed: bool) -> int | None:
    """The axis that the parts share; None if neither axis fits, or both do."""
    fits = [extent == total for extent in shape]
    if all(fits):
        return None
    if fits[0]:
        return 0
    # Packed columns cannot be cut.
    return 1 if fits[1] and not packed else None
