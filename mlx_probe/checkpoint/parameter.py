"""A parameter of the model: one stored tensor, or the pieces of a packed one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mlx_probe.checkpoint.packings.protocol import Decode
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.records import TensorInfo

__all__ = ["PLAIN", "Parameter"]

# The packing of a tensor whose elements are stored as plain numbers.
PLAIN = "plain"


@dataclass(frozen=True, slots=True)  # a large model has hundreds of thousands
class Parameter:
    """A parameter of the model: one stored tensor, or the pieces of a packed one.

    Attributes:
        name: Its name in the model.
        dtype: Stored type of the main piece.
        shape: Logical shape, PyTorch order.
        packing: Key of `PACKINGS`, or `PLAIN`.
        detail: Settings of the packing ("4 bit, group 64"); "" if plain.
        pieces: Stored tensors that its values are computed from, the main one first.
        extra: Stored tensors that belong to it but do not change its values.
        decode: Turns blocks of pieces into values; None if plain.
        row_major: See `Layout`.
        encoding: See `Layout`.
        problem: Why it cannot be read; None if it can.
        incidental: Whether the model's numbers are complete without it, though it has a problem:
            it is no weight and no piece of one.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    packing: str
    detail: str
    pieces: tuple[TensorInfo, ...]
    extra: tuple[TensorInfo, ...] = ()
    decode: Decode | None = None
    row_major: bool = True
    encoding: Encoding | None = None
    problem: str | None = None
    incidental: bool = False

    @property
    def numel(self) -> int:
        """Number of logical elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes as stored, with scales and other pieces."""
        return sum(piece.nbytes for piece in (*self.pieces, *self.extra))

    @property
    def stored_as(self) -> str:
        """Stored type and packing, for people ("BF16", "mlx 4 bit, group 64")."""
        if self.packing == PLAIN:
            return self.dtype
        what = self.dtype if self.dtype in self.detail else self.detail
        return f"{self.packing} {what}".strip()

    @property
    def chunk_dtype(self) -> str:
        """Key of `DTYPES`: the type that its elements are read as."""
        return self.dtype if self.decode is None else "F32"
