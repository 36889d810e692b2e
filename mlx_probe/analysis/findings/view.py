"""A finished run as the rules see it: columns as numpy arrays, read when a rule asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.runs.table.arrays import to_floats

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Rows", "RunView"]

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
# Tensors with these roles hold one line for each token.
_VOCABULARY = ("embedding", "output")


class Rows:
    """Columns of a table; one that it lacks has nulls only.

    Args:
        table: The table.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self._texts: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, name: str) -> bool:
        return name in self._table.column_names

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers or booleans, NaN for null, shape (rows,)."""
        if name not in self._numbers:
            known = name in self
            values = to_floats(self._table[name]) if known else np.full(len(self), np.nan)
            self._numbers[name] = values
        return self._numbers[name]

    def texts(self, name: str) -> list[Any]:
        """A column of strings, None for null."""
        if name not in self._texts:
            known = name in self
            self._texts[name] = self._table[name].to_pylist() if known else [None] * len(self)
        return self._texts[name]


class RunView(Rows):
    """The rows of a run of one model that a sample does not leave out: rules judge no others.

    Args:
        table: Its rows.
        sides: Its side tables, by key in `SIDES`.
        meta: Its metadata, as far as it is known.

    Attributes:
        unsampled: The other rows, of which only the headers are known.
    """

    def __init__(
        self, table: pa.Table, sides: Mapping[str, pa.Table], meta: Mapping[str, Any]
    ) -> None:
        measured, unsampled = _divided(table)
        super().__init__(measured)
        self.unsampled = Rows(unsampled)
        self.sides = {key: Rows(side) for key, side in sides.items()}
        self.meta = meta

    @cached_property
    def names(self) -> list[str]:
        """What each row is called: the tensor, with its expert and its part."""
        columns = (self.texts(name) for name in ("param_name", "expert_index", "part"))
        return [
            str(name) + ("" if expert is None else f"[{expert}]") + (f" ({part})" if part else "")
            for name, expert, part in zip(*columns, strict=True)
        ]

    @cached_property
    def kinds(self) -> NDArray[np.object_]:
        """The kind of each row, whose members are compared (`kind_labels`)."""
        columns = {name: self.texts(name) for name in KIND_COLUMNS if name in self}
        return np.array(kind_labels(columns), dtype=object)

    @cached_property
    def short(self) -> NDArray[np.float64]:
        """Short side of each matrix; NaN for vectors."""
        return np.minimum(self.numbers("rows"), self.numbers("cols"))

    @cached_property
    def layers(self) -> NDArray[np.float64]:
        """Number of the block of each row; NaN outside the blocks."""
        return self.numbers("layer_index")

    @cached_property
    def whole(self) -> Mask:
        """Rows that count once: no parts of fused matrices, no copies of other tensors."""
        return self._lacks("part") & self._lacks("alias_of")

    @cached_property
    def leaves(self) -> Mask:
        """Rows to judge one by one: parts instead of fused matrices that have them, no copies."""
        pairs = list(zip(self.texts("param_name"), self.texts("expert_index"), strict=True))
        parts = self.texts("part")
        fused = {pair for pair, part in zip(pairs, parts, strict=True) if part is not None}
        split = np.array(
            [pair in fused and part is None for pair, part in zip(pairs, parts, strict=True)], bool
        )
        return ~split & self._lacks("alias_of")

    @cached_property
    def matrices(self) -> Mask:
        """Rows of `leaves` that are matrices with a spectrum."""
        return self.leaves & np.isfinite(self.numbers("rank"))

    @cached_property
    def is_bias(self) -> Mask:
        """Rows of biases."""
        return np.array([name.split(" (")[0].endswith("bias") for name in self.names], bool)

    @cached_property
    def is_vocabulary(self) -> Mask:
        """Rows of embeddings of tokens, and of output heads, that are matrices."""
        known = np.array([kind in _VOCABULARY for kind in self.texts("block_type")], bool)
        return known & np.isfinite(self.short)

    @cached_property
    def is_table(self) -> Mask:
        """Rows of embeddings of any sort: of tokens, positions, types. No weights of a layer."""
        return np.array(["embedding" in str(kind) for kind in self.texts("block_type")], bool)

    def groups(self, among: Mask) -> Iterator[tuple[str, Indices]]:
        """Rows by kind, in the order of the file.

        Args:
            among: The rows to take.
        """
        rows = np.flatnonzero(among)
        kinds = self.kinds[rows]
        for kind in dict.fromkeys(kinds):
            yield kind, rows[kinds == kind]

    def _lacks(self, name: str) -> Mask:
        return np.array([text is None for text in self.texts(name)], bool)


def _divided(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows of a table that a sample takes, and those that it leaves out."""
    is_sample = "status" in table.column_names and "unsampled" in table["status"].to_pylist()
    if not is_sample:
        return table, table.slice(0, 0)
    import pyarrow.compute as pc  # a third of a second, for samples alone

    unsampled = pc.equal(table["status"], "unsampled").fill_null(False)
    return table.filter(pc.invert(unsampled)), table.filter(unsampled)
