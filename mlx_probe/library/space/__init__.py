"""What takes space on this machine, and what of it nothing needs."""

from mlx_probe.library.space.bin import Batch, batches, empty_batches, find_batches, restore_batch
from mlx_probe.library.space.kinds import REMOVABLE, SPACE_KINDS, SpaceKind
from mlx_probe.library.space.records import Item, Kept, Moved, Occupied, Survey
from mlx_probe.library.space.removing import put_away
from mlx_probe.library.space.surveying import find_items, survey_space

__all__ = [
    "REMOVABLE",
    "SPACE_KINDS",
    "Batch",
    "Item",
    "Kept",
    "Moved",
    "Occupied",
    "SpaceKind",
    "Survey",
    "batches",
    "empty_batches",
    "find_batches",
    "find_items",
    "put_away",
    "restore_batch",
    "survey_space",
]
