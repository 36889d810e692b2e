"""A weight's chunks in the backend's memory, whoever unpacks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlx_probe.checkpoint import Weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlx_probe.compute.backends import Backend
    from mlx_probe.core.encoding import Encoded

__all__ = ["Loaded", "loaded_chunks"]


@dataclass(frozen=True)
class Loaded:
    """A chunk for the backend's passes.

    Attributes:
        chunk: What the passes take.
        size: Elements.
        nbytes: Bytes of the elements in the type that the passes see.
    """

    chunk: Any
    size: int
    nbytes: int


def loaded_chunks(weight: Weight, backend: Backend) -> Iterator[Loaded]:
    """Stream a weight into the backend; packed words as they are, if it decodes them.

    Nothing here keeps a chunk while the next one is read. The end of the iteration gives back
    the pages of the last chunk.

    Args:
        weight: A readable weight.
        backend: The backend.

    Raises:
        CheckpointError: The file is closed, gone or changed.
        PackingError: Pieces of a packed weight contradict each other.
    """

    def load(stored: NDArray[Any]) -> Loaded:
        return Loaded(backend.load(stored, weight.chunk_dtype), stored.size, stored.nbytes)

    def load_encoded(block: Encoded) -> Loaded:
        return Loaded(backend.load_encoded(block), block.size, block.nbytes)

    encoding = weight.encoding
    if encoding is not None and backend.decodes(encoding):
        return map(load_encoded, weight.encoded_chunks())
    return map(load, weight.chunks())
