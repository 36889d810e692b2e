"""What a backend must offer; the engine knows nothing else about numpy or MLX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.records import Moments, QuantizationError

__all__ = ["Backend", "ElementPass", "Gram", "GramPass", "QuantizationPass", "TriangularPass"]


@dataclass(frozen=True)
class Gram:
    """The Gram matrix of a weight's short side.

    Attributes:
        matrix: float64, shape (M, M), M = min(rows, cols), symmetric.
        omitted: Frobenius norm of what the representation of the elements left out; 0
            where every element entered exactly.
    """

    matrix: NDArray[np.float64]
    omitted: float


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


class TriangularPass(Protocol):
    """Triangular factor of a matrix, fed slab by slab along the long side."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded slab, shaped as for `GramPass.add`."""

    def singular_values(self) -> NDArray[np.float64]:
        """Singular values of everything added: float64, descending."""


class QuantizationPass(Protocol):
    """What rounding to a few bits would do to a matrix, fed slab by slab."""

    def add(self, chunk: Any) -> None:
        """Take in one loaded slab, shaped as for `GramPass.add`."""

    def finish(self) -> QuantizationError:
        """The errors over everything added."""


class Backend(Protocol):
    """Decodes stored bytes and does the work that touches elements or factorizes."""

    @property
    def name(self) -> str:
        """Key in `BACKENDS`."""

    @property
    def device(self) -> str:
        """Where element work runs, as the results name it ("cpu", "gpu: Apple M3 Ultra")."""

    @property
    def default_workers(self) -> int:
        """Matrices to keep in flight when the user does not say."""

    def load(self, stored: NDArray[Any], dtype: str) -> Any:
        """Bring stored words into this backend's memory.

        Args:
            stored: Words as they lie in the file (a read-only view of the map, any strides),
                or words that nobody else writes to.
            dtype: Key of `DTYPES`.

        Returns:
            A chunk for the passes below, independent of the file.
        """

    def element_pass(self, dtype: str, zero_epsilon: float) -> ElementPass:
        """Start the moments of one tensor of type ``dtype``."""

    def gram_pass(self, rows: int, cols: int, dtype: str) -> GramPass:
        """Start the Gram matrix of one rows x cols matrix of type ``dtype``."""

    def triangular_pass(self, rows: int, cols: int, dtype: str) -> TriangularPass:
        """Start the float64 triangular factor of one rows x cols matrix."""

    def quantization_pass(
        self, rows: int, cols: int, dtype: str, bits: Sequence[int]
    ) -> QuantizationPass:
        """Start the errors of rounding one rows x cols matrix to each of some bit widths.

        ``bits`` must be empty unless `GROUP_SIZE` divides ``cols``; the channel maxima come
        in any case.
        """

    def eigvalsh(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Eigenvalues of a symmetric matrix, float64, ascending (LAPACK syevd).

        Raises:
            SpectrumError: The iteration did not converge.
        """

    def working_set(self, slab_elements: int, short: int) -> int:
        """Bytes that measuring one weight takes at most, the file's own pages excluded.

        Args:
            slab_elements: Elements of its largest slab.
            short: Short side of the matrix; 0 for a vector.
        """

    def device_memory(self) -> tuple[int, int]:
        """Bytes of device memory in use now and at the peak; zeros without a device."""
