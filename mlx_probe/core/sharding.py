"""The index of a model in several files: which file holds which tensor."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path, PurePosixPath

from mlx_probe.core.errors import CheckpointError

__all__ = ["MAX_NAME_BYTES", "is_inside", "read_weight_map"]

# The largest real indices, of models with 100,000 tensors, are near 10 MB.
MAX_INDEX_BYTES = 100 * 1000 * 1000
# The usual limit of file systems; opening a longer name is an error.
MAX_NAME_BYTES = 255


def read_weight_map(path: Path) -> dict[str, str]:
    """Read a ``*.index.json``.

    Args:
        path: The index.

    Returns:
        Tensor name to the name of its shard, a relative path inside the index's folder.

    Raises:
        CheckpointError: The index cannot be read, is not an index, or names a file outside of
            its folder.
    """
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise _damaged(path, f"larger than {MAX_INDEX_BYTES} bytes")
        index = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path}: {error.strerror}", "Check the path and its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON: {error}") from error
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise _damaged(path, "no weight_map")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not is_inside(shard):
            raise _damaged(path, f"tensor {name!r} lies in {shard!r}, outside of the folder")
        if len(shard.encode()) > MAX_NAME_BYTES:
            raise _damaged(path, f"tensor {name!r} lies in {shard[:80]!r}..., too long a name")
    return weight_map


# An index of 90,000 tensors names 160 shards.
@lru_cache(maxsize=1024)
def is_inside(name: str) -> bool:
    """Whether a relative file name is inside its folder on every system."""
    plain = name.isprintable() and "\\" not in name and ":" not in name
    path = PurePosixPath(name)
    # A name without parts is the folder itself.
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: {what}", "Download the index and its shards again")
