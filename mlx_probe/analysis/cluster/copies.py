"""Whether two machines have the same copy of a model, without reading either to its end.

A digest of names, sizes and headers tells other models apart, and broken copies. It does not tell
two fine-tunes of one model apart, whose headers are equal: blocks sampled from each file do,
unless hardly any of their weights differ. Only the hash of whole files tells every difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.checkpoint import Checkpoint
from mlx_probe.core.errors import unreadable
from mlx_probe.core.files import sha256_file
from mlx_probe.core.machine import usable_cores
from mlx_probe.core.records import TensorInfo

__all__ = ["CopyDigest", "FileDigest", "copy_digest", "difference"]

# Of each file: 200 kB whatever its size.
SAMPLES, BLOCK = 48, 4096


@dataclass(frozen=True)
class FileDigest:
    """What identifies a weight file.

    Attributes:
        name: Its path below the folder that holds all weight files of the model.
        size: Bytes.
        header: SHA-256 of names, types, shapes and offsets of its tensors, in hex.
        sample: SHA-256 of blocks of 4 KiB at positions that the size decides, in hex.
        sha256: SHA-256 of all its bytes, in hex; None if they were not read.
    """

    name: str
    size: int
    header: str
    sample: str
    sha256: str | None


@dataclass(frozen=True)
class CopyDigest:
    """What identifies a machine's copy of a model.

    Attributes:
        files: The weight files, in reading order.
        config: SHA-256 of the content of config.json or adapter_config.json, in hex.
        metadata: SHA-256 of the metadata in the weight files, in hex.
    """

    files: tuple[FileDigest, ...]
    config: str
    metadata: str


def copy_digest(checkpoint: Checkpoint, full: bool = False) -> CopyDigest:
    """The digest of a model on this machine.

    Args:
        checkpoint: The opened model.
        full: Whether to read every file to its end for its SHA-256.

    Raises:
        CheckpointError: A file cannot be read.
    """
    weights = checkpoint.files.weights
    folder = Path(os.path.commonpath([path.parent for path in weights]))
    headers = _headers(weights, checkpoint.tensors)

    def digest(path: Path) -> FileDigest:
        try:
            with path.open("rb", buffering=0) as file:
                size, sample = _sample(file.fileno())
            whole = sha256_file(path) if full else None
        except OSError as error:
            raise unreadable(path, error) from error
        name = path.relative_to(folder).as_posix()
        return FileDigest(name, size, headers[path], sample, whole)

    # Hashing releases the GIL, and a disk answers several requests sooner.
    with ThreadPoolExecutor(usable_cores()) as pool:
        files = tuple(pool.map(digest, weights))
    return CopyDigest(files, _json_hash(checkpoint.config), _json_hash(checkpoint.metadata))


def difference(own: CopyDigest, other: CopyDigest) -> str | None:
    """The first difference between two copies.

    Args:
        own: This machine's.
        other: Another's.

    Returns:
        The file and what the other has of it, for a message; None if nothing differs.
    """
    theirs = {file.name: file for file in other.files}
    for file in own.files:
        if (problem := _file_difference(file, theirs.pop(file.name, None))) is not None:
            return problem
    if theirs:
        return f"{next(iter(theirs))} is a file of it, and not of the copy here"
    if own.config != other.config:
        return "its configuration has another content"
    if own.metadata != other.metadata:
        return "its weight files have other metadata"
    return None


def _file_difference(own: FileDigest, other: FileDigest | None) -> str | None:
    if other is None:
        return f"{own.name} is missing"
    if own.size != other.size:
        return f"{own.name} has another size ({other.size} bytes, here {own.size})"
    if own.header != other.header:
        return f"{own.name} has another header: other names, types, shapes or offsets"
    if own.sample != other.sample:
        return f"{own.name} holds other bytes"
    if None not in (own.sha256, other.sha256) and own.sha256 != other.sha256:
        return f"{own.name} has another SHA-256 ({other.sha256}, here {own.sha256})"
    return None


def _headers(weights: Iterable[Path], tensors: Iterable[TensorInfo]) -> dict[Path, str]:
    """SHA-256 of each file's tensors, in their order."""
    digests = {path: hashlib.sha256() for path in weights}
    for tensor in tensors:
        fields = (
            *(tensor.name, tensor.dtype, tensor.shape, tensor.start, tensor.stop),
            *(tensor.strides, tensor.inflated),
        )
        # Not `repr`: which characters it escapes depends on the version of Python.
        digests[tensor.shard].update(f"{fields!a}\n".encode("ascii"))
    return {path: digest.hexdigest() for path, digest in digests.items()}


def _sample(descriptor: int) -> tuple[int, str]:
    """The size of an open file, and the SHA-256 of its sampled blocks."""
    if hasattr(os, "posix_fadvise"):
        # Reading ahead would fetch thirty times as much from the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    size = os.fstat(descriptor).st_size
    digest = hashlib.sha256()
    for position in _positions(size):
        digest.update(os.pread(descriptor, BLOCK, position))
    return size, digest.hexdigest()


def _positions(size: int) -> Iterator[int]:
    """Where the sampled blocks of a file begin, the same on every machine.

    One lies in each of as many equal parts, at a random place: at equal distances all of them
    could fall into the same rows of a model's equal layers.
    """
    if size <= SAMPLES * BLOCK:
        yield from range(0, size, BLOCK)
        return
    # Only `random` gives the same numbers for a seed in all versions of Python.
    draw = random.Random(size)
    part = size / SAMPLES
    for number in range(SAMPLES):
        yield int(number * part + draw.random() * (part - BLOCK))


def _json_hash(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
