"""A model's tensors over all its shards: read from headers, mapped on demand."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.adapters.adapter import Adapter, read_adapter
from mlx_probe.checkpoint.architecture import Architecture, read_architecture
from mlx_probe.checkpoint.formats import read_header
from mlx_probe.checkpoint.formats.header import Header, check_parts
from mlx_probe.checkpoint.gather import gather_parameters
from mlx_probe.checkpoint.mapping import MappedFile
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.own_name import own_name
from mlx_probe.checkpoint.parameter import PLAIN, Parameter
from mlx_probe.checkpoint.ranged import RangedFile
from mlx_probe.checkpoint.weight import Weight, weights_of
from mlx_probe.core.collecting import uncollected
from mlx_probe.core.errors import CheckpointError, PackingError, damaged, unreadable
from mlx_probe.core.records import ModelFiles, TensorInfo
from mlx_probe.core.sharding import read_weight_map

__all__ = ["Checkpoint", "open_checkpoint"]

# Far above the size of settings that packings store as tensors.
MAX_SMALL = 1 << 16

REMOTE_READERS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """An opened model. Holds headers only; weights map their bytes while they are read.

    Attributes:
        files: The files it was opened from.
        framework: Name of their format ("safetensors", "gguf").
        tensors: Stored tensors of all shards in reading order.
        parameters: The parameters that they make up, in the order of their main pieces.
        metadata: The files' own metadata; the first file's where keys are equal.
        config: The model's config.json; empty if it has none.
        architecture: The shape of the network, by config or metadata.
        adapter: How it changes which modules, if it is an adapter.
    """

    files: ModelFiles
    framework: str
    tensors: tuple[TensorInfo, ...]
    parameters: tuple[Parameter, ...]
    metadata: Mapping[str, Any]
    config: Mapping[str, Any]
    architecture: Architecture
    adapter: Adapter | None
    _mapped: Mapping[Path, MappedFile] = field(repr=False)

    def weights(self) -> tuple[Weight, ...]:
        """The logical weights in reading order; see `weights_of`."""
        return self._weights(self._mapped)

    def remote_weights(self) -> tuple[Weight, ...]:
        """The same of a model on a server: `Weight.lines` fetches the bytes of the rows."""
        files = self.files
        ranged = {path: RangedFile(files, path, each.size) for path, each in self._mapped.items()}
        return self._weights(ranged)

    def _weights(self, files: Mapping[Path, MappedFile]) -> tuple[Weight, ...]:
        return tuple(
            weight
            for parameter in self.parameters
            for weight in weights_of(parameter, files, self.architecture)
        )

    def vectors(self) -> tuple[Weight, ...]:
        """Every parameter as one vector of all its elements, whatever its role.

        For the pieces of adapters: their axes mean something else than those of weights, and
        their integers are no codes of an unknown packing.
        """
        vectors = []
        for parameter in self.parameters:
            if parameter.packing == PLAIN:
                parameter = replace(parameter, problem=parameter.pieces[0].problem)
            role, shape = classify(parameter.name), parameter.shape
            vectors.append(Weight(parameter, role, None, shape, None, None, self._mapped))
        return tuple(vectors)

    def tokens(self) -> tuple[str, ...]:
        """The text of each token, by its number; see `read_tokens`."""
        # Here, because an analysis needs no tokens.
        from mlx_probe.checkpoint.vocabulary import read_tokens

        return read_tokens(self.files)

    def close(self) -> None:
        """End reading: later requests for chunks raise `CheckpointError`."""
        for file in self._mapped.values():
            file.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@uncollected()
def open_checkpoint(files: ModelFiles) -> Checkpoint:
    """Open a model by its files' headers; no weight is read or mapped.

    Args:
        files: The model on disk.

    Raises:
        CheckpointError: A file is missing, damaged or of an unknown format, the shards
            disagree with each other or with their index, or config.json is damaged.
    """
    weight_map = read_weight_map(files.index) if files.index else {}
    if files.index:
        _check_shards(files.index, weight_map, files)
    # Over the network, reading one after the other would be slow; on a disk it is not.
    with ThreadPoolExecutor(REMOTE_READERS if files.is_remote else 1) as pool:
        read = pool.map(partial(read_header, opener=files.open), files.weights)
        headers = dict(zip(files.weights, read, strict=True))
    frameworks = sorted({header.framework for header in headers.values()})
    if len(frameworks) != 1:
        raise CheckpointError(
            f"{files.path}: weight files of {' and '.join(frameworks) or 'no format'}",
            "Choose files of one format",
        )
    check_parts(headers)
    _check_names(headers)
    if files.index:
        _check_index(files.index, weight_map, headers)
    metadata: dict[str, Any] = {}
    for header in headers.values():
        metadata = {**header.metadata, **metadata}
    config = _read_config(files.config) if files.config else {}
    tensors = tuple(tensor for header in headers.values() for tensor in header.tensors)
    return Checkpoint(
        files=files if files.is_named else own_name(files, config, metadata),
        framework=frameworks[0],
        tensors=tensors,
        parameters=gather_parameters(tensors, config, partial(_read_small, files), metadata),
        metadata=metadata,
        config=config,
        architecture=read_architecture(config, metadata),
        adapter=read_adapter(tensors, config, frameworks[0]),
        _mapped={path: MappedFile(path, header.size) for path, header in headers.items()},
    )


def _read_small(files: ModelFiles, tensor: TensorInfo) -> bytes:
    if tensor.nbytes > MAX_SMALL or tensor.inflated is not None:
        raise PackingError(f"{tensor.name}: {tensor.nbytes} bytes where a few were expected")
    try:
        with files.open(tensor.shard) as file:
            file.seek(tensor.start)
            return file.read(tensor.nbytes)
    except OSError as error:
        raise unreadable(tensor.shard, error) from error


def _check_shards(index: Path, weight_map: Mapping[str, str], files: ModelFiles) -> None:
    shards = sorted(set(weight_map.values()))
    missing = [shard for shard in shards if not _is_there(index.parent / shard, files)]
    if missing:
        more = len(missing) - 1
        raise damaged(
            index,
            f"shard {missing[0]} is missing, and {more} more of {len(shards)}"
            if more
            else f"shard {missing[0]} is missing",
            "Copy what is missing there, or download the model again, which keeps what is there",
        )


def _is_there(path: Path, files: ModelFiles) -> bool:
    return path in files.weights and (files.is_remote or path.is_file())


def _check_names(headers: Mapping[Path, Header]) -> None:
    shards: dict[str, Path] = {}
    for path, header in headers.items():
        for tensor in header.tensors:
            if tensor.name in shards:
                raise damaged(path, f"tensor {tensor.name!r} is in {shards[tensor.name]} too")
            shards[tensor.name] = path


def _check_index(
    index: Path, weight_map: Mapping[str, str], headers: Mapping[Path, Header]
) -> None:
    held = {path: {tensor.name for tensor in header.tensors} for path, header in headers.items()}
    promised: dict[str, list[str]] = {}
    for name, shard in weight_map.items():
        promised.setdefault(shard, []).append(name)
    for shard, wanted in promised.items():
        names = held[index.parent / shard]
        for name in wanted:
            if name not in names:
                raise damaged(index, f"shard {shard} does not hold tensor {name!r}")
    for path, names in held.items():
        extra = sorted(names - weight_map.keys())
        if extra:
            _log.warning(
                "%s leaves out tensors of %s that are read all the same: %r and %d more",
                index,
                path.name,
                extra[0],
                len(extra) - 1,
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not JSON: {error}") from error
    if not isinstance(config, dict):
        raise damaged(path, "not a JSON object")
    return config
