"""What a backend must offer; the engine knows nothing else about numpy or MLX.

Factorizations are not part of it: no GPU that MLX uses has float64, so that every backend leaves
them to LAPACK on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.change import ChangeSums
from mlx_probe.compute.backends.chunk import Chunk
from mlx_probe.core.encoding import Encoded, Encoding
from mlx_probe.core.records import Moments, QuantizationError

__all__ = [
    "Backend",
    "ChangePass",
    "ElementPass",
    "Gram",
    "GramPass",
    "OperatorPass",
    "PairGramPass",
    "PairGrams",
    "QuantizationPass",
]


@dataclass(frozen=True)
class Gram:
    """The Gram matrix of a weight's short side.

    Attributes:
        matrix: float64, shape (M, M), M = min(rows, cols); of the symmetric matrix only the
            upper triangle is defined.
        omitted: Frobenius norm of what the representation of the elements left out; 0
            where every element entered exactly.
    """

    matrix: NDArray[np.float64]
    omitted: float


@dataclass(frozen=True)
class PairGrams:
    """Gram matrices of two matrices A and B of one shape; None where none was asked for.

    Attributes:
        difference: Of B - A.
        a: Of A.
        b: Of B.
    """

    difference: Gram | None
    a: Gram | None
    b: Gram | None


class ElementPass(Protocol):
    """Sums over elements, fed chunk by chunk."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded chunk of any shape."""

    def finish(self) -> Moments:
        """The moments of everything added."""


class GramPass(Protocol):
    """Gram matrix of the short side, fed slab by slab along the long side."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded slab: (k, cols) of a tall matrix, (rows, k) of a wide one."""

    def finish(self) -> Gram:
        """The Gram matrix of everything added."""


class OperatorPass(Protocol):
    """A matrix kept in float32 for products, fed slab by slab along the long side."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded slab, shaped as for `GramPass.add`."""

    def apply(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """The Gram matrix of the short side times a block of vectors, without forming it.

        Args:
            v: Shape (M, k).

        Returns:
            (A.T A) v of a tall or square A, (A A.T) v of a wide one, shape (M, k), to the
            accuracy of float32.
        """

    def along(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """The lines of the long side times a block of vectors.

        Args:
            v: Shape (M, k), within float32's range.

        Returns:
            A v of a tall or square A, A.T v of a wide one, shape (max(rows, cols), k), to the
            accuracy of float32.
        """

    def across(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transpose of `along`.

        Args:
            u: Shape (max(rows, cols), k), within float32's range.

        Returns:
            A.T u of a tall or square A, A u of a wide one, shape (M, k).
        """


class QuantizationPass(Protocol):
    """What rounding to a few bits would do to a matrix, fed slab by slab."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded slab, shaped as for `GramPass.add`."""

    def finish(self) -> QuantizationError:
        """The errors over everything added."""


class ChangePass(Protocol):
    """Sums over the elements of two tensors of one shape, fed chunk by chunk."""

    def add(self, a: Any, b: Any) -> None:
        """Take in a loaded chunk of each, of one shape and with the same elements."""

    def finish(self) -> ChangeSums:
        """The sums over everything added."""


class PairGramPass(Protocol):
    """Gram matrices of two matrices and of their difference, fed slab by slab."""

    def add(self, a: Any, b: Any) -> None:
        """Take in a loaded slab of each, shaped as for `GramPass.add`, with the same lines."""

    def finish(self) -> PairGrams:
        """The Gram matrices of everything added."""


class Backend(Protocol):
    """Decodes stored bytes and does the work that touches elements or factorizes."""

    @property
    def name(self) -> str:
        """Key in `BACKENDS`."""

    @property
    def device(self) -> str:
        """Device of the element work, as results name it ("cpu", "gpu: Apple M3 Ultra")."""

    @property
    def default_workers(self) -> int:
        """Matrices to work on at once if the user gives no number."""

    @property
    def lanes(self) -> int:
        """Weights whose elements may be worked on at once; 0 for as many as there are workers."""

    @property
    def in_place(self) -> bool:
        """Whether it decodes packed words block by block where they are, not whole slabs."""

    def load(self, stored: NDArray[Any], dtype: str) -> Any:
        """Bring stored words into this backend's memory.

        Args:
            stored: Words as in the file (a read-only view of the map, any strides), or words
                that nobody else changes.
            dtype: Key of `DTYPES`.

        Returns:
            A chunk for the passes below. It may be a view of ``stored``: a pass takes it before
            those words are given back.
        """

    def decodes(self, encoding: Encoding) -> bool:
        """Whether `load_encoded` takes packed words of this encoding."""

    def load_encoded(self, block: Encoded) -> Any:
        """Bring packed words into this backend's memory; it decodes them itself.

        Args:
            block: Of an encoding that `decodes` accepts.

        Returns:
            A chunk of float32 elements for the passes below, of the block's shape, with the bits
            that the packing's own decoder gives. It is valid until the next block is requested.

        Raises:
            PackingError: The pieces contradict each other in their values.
        """

    def parts(self, chunk: Any, rows: int, cols: int) -> Iterable[Any]:
        """Divide a chunk of a rows x cols matrix for passes that take it together.

        Each part goes through all of them before the next one is requested: what the first pass
        makes of it serves the others. The element pass comes first.

        Returns:
            Parts along the long side, or the chunk alone if dividing gains nothing.
        """

    def stack(self, chunks: Sequence[Any], span: slice) -> Any:
        """Some elements of each of several chunks of one shape and type, as one chunk.

        Args:
            chunks: The chunks.
            span: First element and one past the last, counted row by row.

        Returns:
            A chunk of shape (len(chunks), span.stop - span.start).
        """

    def element_pass(self, dtype: str, zero_epsilon: float) -> ElementPass:
        """Start the moments of one tensor of type ``dtype``."""

    def gram_pass(self, rows: int, cols: int, dtype: str, precise: bool = False) -> GramPass:
        """Start the Gram matrix of one rows x cols matrix of type ``dtype``.

        ``precise`` makes a representation that leaves something out leave out less.
        """

    def batch_size(self, rows: int, cols: int) -> int:
        """Matrices of one shape that `gram_batch` takes at once; 1 if batches gain nothing."""

    def gram_batch(
        self, chunks: Sequence[Any], rows: int, cols: int, dtype: str, precise: bool = False
    ) -> list[Gram]:
        """Gram matrices of several small rows x cols matrices, each of them one loaded chunk.

        ``precise`` as for `gram_pass`.
        """

    def operator_pass(self, rows: int, cols: int, dtype: str) -> OperatorPass:
        """Start keeping one rows x cols matrix for products."""

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> QuantizationPass:
        """Start the errors of rounding one rows x cols matrix to each of some bit widths.

        ``bits`` must be empty unless `GROUP_SIZE` divides ``cols``; the channel maxima are
        computed in any case.
        """

    def change_pass(self, dtype_a: str, dtype_b: str) -> ChangePass:
        """Start the sums over two tensors of these types."""

    def pair_gram_pass(
        self, rows: int, cols: int, dtypes: tuple[str, str], difference: bool, sides: bool
    ) -> PairGramPass:
        """Start Gram matrices of two rows x cols matrices A and B.

        Args:
            rows: Rows.
            cols: Columns.
            dtypes: Types of A and of B.
            difference: Whether to make that of B - A.
            sides: Whether to make those of A and of B.
        """

    def pair_gram_batch(
        self,
        pairs: Sequence[tuple[Any, Any]],
        rows: int,
        cols: int,
        dtypes: tuple[str, str],
        sides: bool,
    ) -> list[PairGrams]:
        """The same of several small pairs at once, each of them one loaded chunk of A and of B.

        That of the difference is always made. `batch_size` says how many to take.
        """

    def on_host(self, chunk: Any) -> Chunk:
        """A loaded chunk in the host's memory, where its values are float64."""

    def working_set(self, slab_elements: int, itemsize: int, short: int) -> int:
        """Bytes that measuring one weight takes at most, the file's own pages excluded.

        Args:
            slab_elements: Elements of its largest slab.
            itemsize: Bytes of an element as it is loaded.
            short: Short side of the matrix; 0 for a vector.
        """

    def device_memory(self) -> tuple[int, int]:
        """Bytes of device memory in use now and at the peak; zeros without a device."""
