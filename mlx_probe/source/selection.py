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

__all__ = ["Selection", "config_name", "find_weights", "select_files"]

# Checkpoints of a training by mlx-lm, which ends with adapters.safetensors.
_UNFINISHED = re.compile(r"\d+_(?P<adapter>adapters\.\w+)")
# A part of a model in several files: model-00002-of-00005.safetensors, weights.02.safetensors.
_PART = re.compile(
    r"(?P<stem>.*?[-._])(?P<number>\d{1,9})(?:-of-(?P<total>\d{1,9}))?(?P<end>\.\w+)"
)


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

    Files that a format's ``not_weights`` match are left out, unless ``file`` is their name.
    """
    ends = (*weight_suffixes(), *index_suffixes())
    weights = [name for name in names if name.endswith(ends)]
    # Names before globs: m[1].gguf is also a glob, which means m1.gguf.
    named = [name for name in weights if file in (name, PurePosixPath(name).name)]
    if named:
        return named
    others = [glob for form in FORMATS.values() for glob in form.not_weights]
    weights = [name for name in weights if not _is_among(name, others)]
    return weights if file is None else [name for name in weights if fnmatchcase(name, file)]


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
        file: Name, or glob on names, that picks the weight file among several.

    Raises:
        SourceError: No weights, or several models and none picked.
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
        raise _choose(names, listing, where)
    folder = folders.pop()
    models = [name for name in names if not _is_adapter(name)]
    adapters = [str(folder / name) for name in _adapters() if str(folder / name) in names]
    # Without either, the names are unfinished adapters.
    names = models or adapters[:1] or names
    config = config_name(names[0], listing)

    suffix = next(end for end in suffixes if any(_is_of(name, end) for name in names))
    standard = str(folder / _usual_name(suffix))
    indices = [name for name in names if name.endswith(suffix + INDEX_END)]
    if standard + INDEX_END in indices or len(indices) == 1:
        index = standard + INDEX_END
        return Selection((), index if index in indices else indices[0], config)
    weights = [name for name in names if name.endswith(suffix)]
    weights = [standard] if standard in weights else weights
    # A part that the user picked by name is all that is wanted.
    if not (_is_whole(weights) or (file is not None and len(weights) == 1)):
        raise _choose(weights or indices, listing, where)
    return Selection(tuple(weights), None, config)


def _is_among(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(PurePosixPath(name).name, pattern) for pattern in patterns)


def _is_of(name: str, suffix: str) -> bool:
    return name.endswith((suffix, suffix + INDEX_END))


def _usual_name(suffix: str) -> str:
    form = format_of(suffix)
    assert form is not None
    return form.names[form.suffixes.index(suffix)]


def _adapters() -> list[str]:
    return [name for form in FORMATS.values() for name in form.adapters]


def _is_adapter(name: str) -> bool:
    plain = PurePosixPath(name).name
    unfinished = _UNFINISHED.fullmatch(plain)
    return (unfinished["adapter"] if unfinished else plain) in _adapters()


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
    sizes = ", ".join(f"{name} ({format_size(listing[name])})" for name in names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return SourceError(
        f"{where} has no index and is not one complete model: {sizes}{more}",
        "Name one: the file's path, or MODEL:FILE for the Hub and packages",
    )
