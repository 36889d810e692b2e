"""Fused matrices (query, key and value; gate and up), and the parts that they consist of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlx_probe.checkpoint.architecture import Architecture
from mlx_probe.checkpoint.packings.protocol import Index, positions
from mlx_probe.core.records import Role

__all__ = ["Part", "parts_of"]


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


# The order of query, key and value heads in one matrix. "blocks": all queries, all keys, all
# values. "heads": query, key and value of one head, then of the next head. "groups": the queries
# that share a key and a value, this key and value, then the next group.
_BLOCKS, _HEADS, _GROUPS = "blocks", "heads", "groups"

# By model type, for families that do not have blocks (by the code of transformers and of the
# models' authors).
_QKV_LAYOUT = {
    "gpt_neox": _HEADS,
    "gpt_neox_japanese": _HEADS,
    "bloom": _HEADS,
    "persimmon": _HEADS,
    "fuyu": _HEADS,
    "deberta": _HEADS,
    "minimax": _HEADS,
    "internlm2": _GROUPS,
    "internlm_xcomposer2": _GROUPS,
}
# CodeGen has four shards, each with its own parts; the linear attention of Qwen3-Next has other
# kinds of parts. Such matrices are not split.
_NO_LAYOUT = frozenset({"codegen", "qwen3_next", "xlnet"})

# Families that alternate lines of gate and up. Matrices whose inputs are rows (Conv1D of GPT-2,
# experts of Llama 4 and gpt-oss) are cut between columns.
_ALTERNATING = frozenset({"gpt_oss"})


def parts_of(
    role: Role, shape: tuple[int, ...], packed: bool, architecture: Architecture
) -> tuple[Part, ...]:
    """The logical matrices inside a fused one, by the model's configuration.

    Args:
        role: Role of the matrix.
        shape: Its (rows, cols).
        packed: Whether it is packed: then it can be cut between rows only.
        architecture: Numbers of heads and widths.

    Returns:
        Its parts. Empty if it is not fused or the parts are uncertain: their lines must add up
        exactly to the matrix.
    """
    if role.component in ("vision", "audio", "projector"):
        # Towers do not have the heads of the language model.
        return ()
    if role.block_type == "qkv_proj":
        return _qkv(shape, packed, architecture)
    if role.block_type == "gate_up_proj":
        return _gate_up(role, shape, packed, architecture)
    return ()


def _qkv(shape: tuple[int, ...], packed: bool, a: Architecture) -> tuple[Part, ...]:
    if a.heads is None or a.kv_heads is None or a.head_dim is None or a.heads % a.kv_heads:
        return ()
    layout = _qkv_layout(a)
    total = (a.heads + 2 * a.kv_heads) * a.head_dim
    axis = _axis(shape, total, packed)
    if axis is None or layout is None:
        return ()
    queries = a.heads // a.kv_heads
    periods = 1 if layout == _BLOCKS else a.kv_heads
    q = (a.heads if layout == _BLOCKS else queries) * a.head_dim
    kv = (a.kv_heads if layout == _BLOCKS else 1) * a.head_dim
    return tuple(
        Part(name, axis, length * periods, total // periods, offset, length)
        for name, offset, length in (
            ("q_proj", 0, q),
            ("k_proj", q, kv),
            ("v_proj", q + kv, kv),
        )
    )


def _qkv_layout(a: Architecture) -> str | None:
    # llama.cpp's converter arranges every family in blocks.
    if a.model_type in _NO_LAYOUT and "gguf" not in a.flags:
        return None
    if "gguf" in a.flags or a.model_type is None:
        return _BLOCKS
    if a.model_type == "falcon":
        if "new_decoder_architecture" in a.flags:
            return _GROUPS
        return _BLOCKS if "multi_query" in a.flags else _HEADS
    if a.model_type == "gpt_bigcode":
        return _BLOCKS if "multi_query" in a.flags else _HEADS
    return _QKV_LAYOUT.get(a.model_type, _BLOCKS)


def _gate_up(role: Role, shape: tuple[int, ...], packed: bool, a: Architecture) -> tuple[Part, ...]:
    width = a.intermediate_size
    if role.component == "moe":
        width = a.moe_intermediate_size or a.intermediate_size
    if width is None:
        return ()
    axis = _axis(shape, 2 * width, packed)
    if axis is None:
        return ()
    alternating = a.model_type in _ALTERNATING
    period, length = (2, 1) if alternating else (2 * width, width)
    return tuple(
        Part(name, axis, width, period, number * length, length)
        for number, name in enumerate(("gate_proj", "up_proj"))
    )


def _axis(shape: tuple[int, ...], total: int, packed: bool) -> int | None:
    """The axis that the parts share; None if neither axis fits, or both do."""
    fits = [extent == total for extent in shape]
    if all(fits):
        return None
    if fits[0]:
        return 0
    # Packed columns cannot be cut.
    return 1 if fits[1] and not packed else None
