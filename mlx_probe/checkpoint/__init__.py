"""From weight files to named, lazily mapped weights; `open_checkpoint` is the entry."""

from mlx_probe.checkpoint.adapters.adapter import Adapter
from mlx_probe.checkpoint.adapters.kinds import ADAPTERS
from mlx_probe.checkpoint.aliases import are_same_bytes, find_aliases
from mlx_probe.checkpoint.architecture import Architecture, text_config
from mlx_probe.checkpoint.blank import blank_weight
from mlx_probe.checkpoint.checkpoint import Checkpoint, open_checkpoint
from mlx_probe.checkpoint.formats.header import Header
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.checkpoint.packings.protocol import Packing
from mlx_probe.checkpoint.parameter import PLAIN, Parameter
from mlx_probe.checkpoint.weight import Weight, chunk_extent

__all__ = [
    "ADAPTERS",
    "PACKINGS",
    "PLAIN",
    "Adapter",
    "Architecture",
    "Checkpoint",
    "Header",
    "Packing",
    "Parameter",
    "Weight",
    "are_same_bytes",
    "blank_weight",
    "chunk_extent",
    "find_aliases",
    "open_checkpoint",
    "text_config",
]
