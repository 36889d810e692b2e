"""Named, lazily mapped tensors and the logical weights that they hold."""

from mlx_probe.checkpoint.checkpoint import Checkpoint, open_checkpoint
from mlx_probe.checkpoint.formats import FORMATS, Format
from mlx_probe.checkpoint.header import Header
from mlx_probe.checkpoint.packing import PACKINGS, Packing
from mlx_probe.checkpoint.weight import Weight, chunk_extent

__all__ = [
    "FORMATS",
    "PACKINGS",
    "Checkpoint",
    "Format",
    "Header",
    "Packing",
    "Weight",
    "chunk_extent",
    "open_checkpoint",
]
