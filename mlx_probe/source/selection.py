"""Which files of a model an analysis needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from rich.filesize import decimal

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles
from mlx_probe.sharding import read_weight_map

__all__ = ["WEIGHT_SUFFIXES", "Selection", "select_files"]

# In order of preference: where a model comes as both, safetensors is the original.
WEIGHT_SUFFIXES = (".safetensors", ".gguf")
INDEX_SUFFIX = ".safetensors.index.json"


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


def select_files(listing: Mapping[str, int], where: str, file: str | None = None) -> Selection:
    """Choose the files of one model: its weights, index and config.json, nothing else.

    Only the shallowest folder that has weights counts: what lies deeper are other editions
    (onnx/, original/) of the same model.

    Args:
        listing: Size in bytes of every file by its name, a relative POSIX path.
        where: What the listing is of, for messages.
        file: Glob on names that picks the weight file among several.

    Raises:
        SourceError: No weights, or several models and none picked.
    """
    names = [name for name in listing if name.endswith((*WEIGHT_SUFFIXES, INDEX_SUFFIX))]
    if file is not None:
        names = [n for n in names if fnmatchcase(n, file) or PurePosixPath(n).name == file]
    depth = min((len(PurePosixPath(name).parts) for name in names), default=0)
    names = sorted(name for name in names if len(PurePosixPath(name).parts) == depth)
    folders = {PurePosixPath(name).parent for name in names}
    if not names or len(folders) > 1:
        wanted = "weights" if file is None else f"weights named {file!r}"
        raise (
            _choose(names, listing, where)
            if names
            else SourceError(
                f"{where} has no {wanted}",
                f"Choose a model with {' or '.join(WEIGHT_SUFFIXES)} files",
            )
        )
    config = str(folders.pop() / "config.json")
    has_config = config if config in listing else None
    indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
    safetensors = [name for name in names if name.endswith(".safetensors")]
    standard = [n for n in names if PurePosixPath(n).name == f"model{INDEX_SUFFIX}"]
    if len(standard or indices) == 1:
        return Selection((), (standard or indices)[0], has_config)
    single = [n for n in safetensors if PurePosixPath(n).name == "model.safetensors"]
    weights = single or safetensors or [name for name in names if name.endswith(".gguf")]
    if len(weights) != 1:
        raise _choose(weights, listing, where)
    return Selection((weights[0],), None, has_config)


def _choose(names: list[str], listing: Mapping[str, int], where: str) -> SourceError:
    sizes = ", ".join(f"{name} ({decimal(listing[name])})" for name in names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return SourceError(
        f"{where} holds several weight files and no index: {sizes}{more}",
        "Name one: the file's path, or MODEL:FILE for the Hub and packages",
    )
