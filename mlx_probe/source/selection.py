"""Which files of a model an analysis needs."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from mlx_probe.core.errors import SourceError
from mlx_probe.core.formats import FORMATS, INDEX_END, format_of, index_suffixes, weight_suffixes
from mlx_probe.core.records import ModelFiles
from mlx_probe.core.sharding import read_weight_map
from mlx_probe.core.units import format_size
from mlx_probe.source.parts import all_parts, index_of, is_whole, part_of

__all__ = ["PIPELINE", "Selection", "config_name", "find_weights", "select_file", "select_files"]

# diffusers: which class reads which folder of a pipeline.
PIPELINE = "model_index.json"

# Checkpoints of a training by mlx-lm, which ends with adapters.safetensors.
_UNFINISHED = re.compile(r"\d+_(?P<adapter>adapters\.\w+)")


@dataclass(frozen=True)
class Selection:
    """The needed files of a listing, as names within it.

    Attributes:
        weights: Weight files; empty if only the index names them.
        index: Sharding index.
        config: config.json beside the weights, or an adapter's adapter_config.json.
    """

    weights: tuple[str, ...]
    index: str | None = None
    config: str | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The small files: index and configuration."""
        return tuple(name for name in (self.index, self.config) if name is not None)

    def resolve(self, root: Path, model_id: str, revision: str, path: Path) -> ModelFiles:
        """Turn names into paths below ``root``; reads the index if only that names the weights.

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
    """The weight files and indices among the names; with ``file``, those it picks.

    Files that a format's ``not_weights`` match are left out, unless ``file`` is their name. A
    folder's name picks the files in it.
    """
    ends = (*weight_suffixes(), *index_suffixes())
    weights = [name for name in names if name.lower().endswith(ends)]
    # Names before globs: m[1].gguf is also a glob, which means m1.gguf.
    named = [name for name in weights if file in (name, PurePosixPath(name).name)]
    if named:
        return named
    others = [glob for form in FORMATS.values() for glob in form.not_weights]
    weights = [name for name in weights if not _is_among(name, others)]
    if file is None:
        return weights
    inside = [name for name in weights if file.rstrip("/") == str(PurePosixPath(name).parent)]
    return inside or [name for name in weights if fnmatchcase(name, file)]


def config_name(weights: str, names: Container[str]) -> str | None:
    """The configuration that describes a weight file.

    Args:
        weights: Name of the file, a relative POSIX path.
        names: Names of all files there are.

    Returns:
        The config.json beside it, for an adapter its adapter_config.json; None if there is
        none. An adapter's folder may hold the config.json of its base model as well.
    """
    config = "adapter_config.json" if _is_adapter(weights) else "config.json"
    name = str(PurePosixPath(weights).parent / config)
    return name if name in names else None


def select_files(listing: Mapping[str, int], where: str, file: str | None = None) -> Selection:
    """Choose the files of one model: its weights, index and configuration, nothing else.

    Only the shallowest folder with weights counts: deeper ones (onnx/, original/) hold other
    editions of the same model. Of several formats the first of `FORMATS` is
    chosen; an adapter only where there is no model.

    Args:
        listing: Size in bytes of every file by its name, a relative POSIX path.
        where: What has these files, for messages.
        file: Name of a file or folder, or glob on names, that picks one model among several. One
            part of a model means all of them.

    Raises:
        SourceError: No weights, several models and none picked, or a model that lacks parts.
    """
    names, suffixes = find_weights(listing, file), weight_suffixes()
    if not names:
        wanted = "weights" if file is None else f"weights named {file!r}"
        raise SourceError(
            f"{where} has no {wanted}",
            f"Choose a model with {' or '.join(suffixes)} files",
        )
    depth = min(len(PurePosixPath(name).parts) for name in names)
    names = sorted(name for name in names if len(PurePosixPath(name).parts) == depth)
    folders = {PurePosixPath(name).parent for name in names}
    if len(folders) > 1:
        if PIPELINE in listing:
            raise _choose_component(folders, where)
        raise _choose(names, listing, where)
    folder = folders.pop()
    models = [name for name in names if not _is_adapter(name)]
    adapters = [str(folder / name) for name in _adapters() if str(folder / name) in names]
    # Without either, the names are unfinished adapters.
    names = models or adapters[:1] or names
    config = config_name(names[0], listing)

    suffix = next(end for end in suffixes if any(_is_of(name, end) for name in names))
    indices = [name for name in names if name.lower().endswith(suffix + INDEX_END)]
    usual = [str(folder / name) for name in _usual_names(suffix)]
    index = next((name + INDEX_END for name in usual if name + INDEX_END in indices), None)
    if index or len(indices) == 1:
        return Selection((), index or indices[0], config)
    weights = [name for name in names if name.lower().endswith(suffix)]
    weights = next(([name] for name in usual if name in weights), weights)
    if len(weights) == 1 or _is_torso(weights):
        return select_file(weights[0], listing, where)
    if not is_whole(weights):
        raise _choose(weights or indices, listing, where)
    return Selection(tuple(weights), None, config)


def select_file(name: str, listing: Container[str], where: str) -> Selection:
    """The model that a weight file is, or that it is a part of.

    Args:
        name: The file, a relative POSIX path.
        listing: Names of all files there are.
        where: What has these files, for messages.

    Raises:
        SourceError: It is a part, and others are missing.
    """
    weights = all_parts(name, listing, where)
    return Selection(weights, index_of(name, listing), config_name(name, listing))


def _is_torso(weights: Sequence[str]) -> bool:
    """Whether files are parts of one model, but not all of them."""
    parts = [part_of(name) for name in weights]
    models = {part and part.total and part.model for part in parts}
    return len(models) == 1 and None not in models and not is_whole(weights)


def _is_among(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(PurePosixPath(name).name, pattern) for pattern in patterns)


def _is_of(name: str, suffix: str) -> bool:
    return name.lower().endswith((suffix, suffix + INDEX_END))


def _usual_names(suffix: str) -> tuple[str, ...]:
    form = format_of(suffix)
    assert form is not None
    others = (name for name in form.other_names if name.endswith(suffix))
    return form.names[form.suffixes.index(suffix)], *others


def _adapters() -> list[str]:
    return [name for form in FORMATS.values() for name in form.adapters]


def _is_adapter(name: str) -> bool:
    plain = PurePosixPath(name).name
    unfinished = _UNFINISHED.fullmatch(plain)
    return (unfinished["adapter"] if unfinished else plain) in _adapters()


def _choose_component(folders: Iterable[PurePosixPath], where: str) -> SourceError:
    names = sorted(map(str, folders))
    return SourceError(
        f"{where} is a pipeline of {len(names)} models: {', '.join(names)}",
        f"Name one: the folder's path, or MODEL:FOLDER for the Hub ({where}:{names[0]})",
    )


def _choose(names: Sequence[str], listing: Mapping[str, int], where: str) -> SourceError:
    sizes = ", ".join(f"{name} ({format_size(listing[name])})" for name in names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return SourceError(
        f"{where} has no index and is not one complete model: {sizes}{more}",
        "Name one: the file's path, or MODEL:FILE for the Hub and packages",
    )
