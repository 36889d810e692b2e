"""Which files of a model an analysis needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles
from mlx_probe.sharding import read_weight_map

__all__ = ["WEIGHT_SUFFIXES", "Selection", "find_weights", "select_files"]

# In order of preference: where a model comes as both, safetensors is the original.
WEIGHT_SUFFIXES = (".safetensors", ".gguf")
INDEX_SUFFIX = ".safetensors.index.json"
# A part of a model in several files: model-00002-of-00005.safetensors, weights.02.safetensors.
_PART = re.compile(
    r"(?P<stem>.*?[-._])(?P<number>\d{1,9})(?:-of-(?P<total>\d{1,9}))?(?P<end>\.\w+)"
)


@dataclass(frozen=True)
class Selection:
    """The needed files of a listing, as names within it.

    Attributes:
        weights: Weight files; empty where the index has to tell.
        index: Sharding index.
        config: config.json beside the weights.
    """

    weights: tuple[str, ...]
    index: str | None = None
    config: str | None = None

    def resolve(self, root: Path, model_id: str, revision: str, path: Path) -> ModelFiles:
        """Names to paths below ``root``; reads the index, which must be there by now.

        Args:
            root: Folder that the names are relative to.
            model_id: See `ModelFiles`.
            revision: See `ModelFiles`.
            path: See `ModelFiles`.

        Raises:
            CheckpointError: The index is damaged.
        """
        return ModelFiles(
            model_id=model_id,
            revision=revision,
            path=path,
            weights=tuple(root / name for name in self.weights or self.shards(root)),
            index=None if self.index is None else root / self.index,
            config=None if self.config is None else root / self.config,
        )

    def shards(self, root: Path) -> tuple[str, ...]:
        """Names of the shards that the index names, sorted.

        Raises:
            CheckpointError: The index is damaged.
        """
        if self.index is None:
            return ()
        folder = PurePosixPath(self.index).parent
        shards = sorted(set(read_weight_map(root / self.index).values()))
        return tuple(str(folder / shard) for shard in shards)


def find_weights(names: Iterable[str], file: str | None = None) -> list[str]:
    """The weight files and indices among the names; with ``file``, those it picks."""
    found = [name for name in names if name.endswith((*WEIGHT_SUFFIXES, INDEX_SUFFIX))]
    if file is None:
        return found
    # First as a name, or m[1].gguf would also be a glob that means m1.gguf.
    named = [name for name in found if file in (name, PurePosixPath(name).name)]
    return named or [name for name in found if fnmatchcase(name, file)]


def select_files(listing: Mapping[str, int], where: str, file: str | None = None) -> Selection:
    """Choose the files of one model: its weights, index and config.json, nothing else.

    Only the shallowest folder that has weights counts: what lies deeper are other editions
    (onnx/, original/) of the same model.

    Args:
        listing: Size in bytes of every file by its name, a relative POSIX path.
        where: What the listing is of, for messages.
        file: Name, or glob on names, that picks the weight file among several.

    Raises:
        SourceError: No weights, or several models and none picked.
    """
    names = find_weights(listing, file)
    if not names:
        wanted = "weights" if file is None else f"weights named {file!r}"
        raise SourceError(
            f"{where} has no {wanted}",
            f"Choose a model with {' or '.join(WEIGHT_SUFFIXES)} files",
        )
    depth = min(len(PurePosixPath(name).parts) for name in names)
    names = sorted(name for name in names if len(PurePosixPath(name).parts) == depth)
    folders = {PurePosixPath(name).parent for name in names}
    if len(folders) > 1:
        raise _choose(names, listing, where)
    folder = folders.pop()
    config = str(folder / "config.json") if str(folder / "config.json") in listing else None

    standard = str(folder / f"model{INDEX_SUFFIX}")
    indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
    if standard in indices or len(indices) == 1:
        return Selection((), standard if standard in indices else indices[0], config)

    standard = str(folder / "model.safetensors")
    weights = [standard] if standard in names else []
    for suffix in WEIGHT_SUFFIXES:
        weights = weights or [name for name in names if name.endswith(suffix)]
    # A part that the user picked by name is all that is wanted.
    if not (_is_whole(weights) or (file is not None and len(weights) == 1)):
        raise _choose(weights or indices, listing, where)
    return Selection(tuple(weights), None, config)


def _is_whole(weights: Sequence[str]) -> bool:
    """Whether files are one model: a single file, or parts numbered without a gap."""
    parts = [part for part in map(_PART.fullmatch, weights) if part]
    if not parts or len(parts) < len(weights):
        return len(weights) == 1
    numbers = sorted(int(part["number"]) for part in parts)
    totals = {part["total"] for part in parts}
    total = totals.pop()
    if len(weights) == 1 and total is None:
        return True
    return (
        not totals
        and len({(part["stem"], part["end"]) for part in parts}) == 1
        and (total is None or int(total) == len(parts))
        and numbers in (list(range(len(parts))), list(range(1, len(parts) + 1)))
    )


def _choose(names: Sequence[str], listing: Mapping[str, int], where: str) -> SourceError:
    sizes = ", ".join(f"{name} ({decimal(listing[name])})" for name in names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return SourceError(
        f"{where} has no index and is not one complete model: {sizes}{more}",
        "Name one: the file's path, or MODEL:FILE for the Hub and packages",
    )
