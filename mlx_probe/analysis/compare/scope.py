"""How much of a pair is computed, by the memory limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlx_probe.analysis.compare.config import CompareConfig
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.compare.subspaces import subspace_bytes
from mlx_probe.checkpoint import chunk_extent
from mlx_probe.compute import lapack
from mlx_probe.compute.backends import Backend
from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.core.dtypes import DTYPES

__all__ = ["Scope", "is_matrix", "on_backend", "scope_of"]

_HOST = NumpyBackend()


@dataclass(frozen=True)
class Scope:
    """How much of a pair is computed, and how much memory that takes.

    Attributes:
        spectrum: Whether the singular values of the difference are computed.
        vectors: Whether the leading singular vectors of both are computed.
        reason: Why something is left out; None if nothing is.
        nbytes: Bytes of memory, at most.
    """

    spectrum: bool
    vectors: bool
    reason: str | None
    nbytes: int


def is_matrix(pair: Pair) -> bool:
    """Whether both are matrices of floats."""
    return pair.weight.has_spectrum and (
        pair.b is None or pair.adaption is not None or pair.b.has_spectrum
    )


def scope_of(pair: Pair, config: CompareConfig, budget: int, backend: Backend) -> Scope:
    """As much of a pair as fits into a memory budget: the change, the spectrum, the vectors.

    Args:
        pair: A pair without a status.
        config: What to compute.
        budget: Bytes.
        backend: Where elements of two weights are worked on.
    """
    stream, spectrum, vectors = _needs(pair, config, backend)
    if not is_matrix(pair):
        return Scope(False, False, None, stream)
    if vectors <= budget:
        return Scope(True, config.directions > 0, None, vectors)
    reason = f"the memory limit leaves {budget / 1e6:.0f} MB"
    if spectrum <= budget:
        reason += f", singular vectors take {vectors / 1e6:.0f} MB"
        return Scope(True, False, reason, spectrum)
    reason += f", the spectrum takes {spectrum / 1e6:.0f} MB"
    return Scope(False, False, reason, stream)


def on_backend(scope: Scope, pair: Pair, config: CompareConfig, backend: Backend) -> Scope:
    """A scope that was decided for another backend, with the memory that it takes on this one."""
    stream, spectrum, vectors = _needs(pair, config, backend)
    nbytes = vectors if scope.vectors else spectrum if scope.spectrum else stream
    return replace(scope, nbytes=nbytes)


def _needs(pair: Pair, config: CompareConfig, backend: Backend) -> tuple[int, int, int]:
    """Bytes that the change takes; with the spectrum; and with the singular vectors, too."""
    # What an adapter makes of a weight is computed on the host.
    working_set = (backend if pair.adaption is None else _HOST).working_set
    weight = pair.weight
    short = weight.short
    slab = short * min(weight.long, chunk_extent(short))
    # Rows in another order are a copy of the chunk.
    copies = 2 if pair.interleaved_a or pair.interleaved_b else 1
    stream = 0
    for one in (pair.a, pair.b):
        if one is not None and (one is pair.a or pair.adaption is None):
            itemsize = copies * DTYPES[one.chunk_dtype].itemsize
            stream += one.resident_bytes + working_set(slab, itemsize, 0)
    # Differences, and the host's blocks of both.
    stream += working_set(0, 0, 0) + _HOST.working_set(0, 0, 0)
    if pair.adaption is not None:
        stream += pair.adaption.nbytes(weight)
    elif backend.lanes:
        # A device makes digits of the difference, too.
        stream += working_set(slab, 4, 0)
    if not is_matrix(pair):
        return stream, stream, stream
    lowrank = pair.adaption is not None and pair.adaption.is_product
    # A Gram matrix, what a device needs to make it, and its factorization.
    gram = working_set(0, 4, short) - working_set(0, 4, 0)
    spectrum = stream + (0 if lowrank else gram)
    # Those of both sides are made together with that of the difference, and wait meanwhile.
    sides = 2 * (gram - lapack.workspace(short) + 8 * short**2)
    leading = max(config.directions, config.intruder_directions)
    vectors = max(spectrum + sides, stream + subspace_bytes(short, leading))
    return stream, spectrum, vectors if config.directions else spectrum
