"""The header of a weight file, and the checks that all formats share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import damaged
from mlx_probe.core.records import TensorInfo

__all__ = [
    "MAX_HEADER",
    "MAX_RANK",
    "Header",
    "Part",
    "check_parts",
    "check_shape",
    "in_file_order",
]

# The limit of the safetensors library. The longest GGUF headers (tokenizers) have a tenth of it.
MAX_HEADER = 100_000_000
# numpy 1.26 cannot make arrays of more dimensions.
MAX_RANK = 32


@dataclass(frozen=True)
class Part:
    """What a file says about the model that it is a part of.

    Attributes:
        number: Its number, from 0.
        count: Number of all parts, at least 2.
        tensors: Tensors in all parts; None if the file does not say.
    """

    number: int
    count: int
    tensors: int | None


@dataclass(frozen=True)
class Header:
    """The header of one weight file.

    Attributes:
        framework: The format's name in the results ("safetensors", "gguf").
        tensors: Stored tensors by ascending offset.
        metadata: The file's own metadata, without large arrays.
        size: Size of the whole file in bytes when the header was read.
        part: Which part of a model the file says it is; None if it says nothing.
    """

    framework: str
    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, Any]
    size: int
    part: Part | None = None


def check_parts(headers: Mapping[Path, Header]) -> None:
    """Refuse some parts of a model without the others.

    Args:
        headers: Headers of the files that are opened together.

    Raises:
        CheckpointError: A file says that it is one of several parts, and others are missing, are
            there twice, or hold another number of tensors.
    """
    parts = {path: header.part for path, header in headers.items() if header.part}
    if not parts:
        return
    path, part = next(iter(parts.items()))
    numbers = sorted(other.number for other in parts.values())
    known = {(other.count, other.tensors) for other in parts.values()}
    remedy = "Put all parts of one model, and no other, into one folder: download it again"
    if len(known) > 1 or len(parts) < len(headers) or len({*numbers}) < len(numbers):
        raise damaged(path, "parts of different models, or one of them twice", remedy)
    missing = sorted({*range(part.count)} - {*numbers})
    if missing:
        shown = ", ".join(str(number + 1) for number in missing[:8])
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise damaged(
            path,
            f"part {part.number + 1} of {part.count} of a model; missing: part {shown}{more}",
            remedy,
        )
    held = sum(len(header.tensors) for header in headers.values())
    if part.tensors is not None and held != part.tensors:
        raise damaged(path, f"all parts hold {held} tensors instead of {part.tensors}", remedy)


def check_shape(path: Path, name: str, shape: tuple[int, ...]) -> None:
    """Refuse shapes whose products could overflow 64 bits later.

    Raises:
        CheckpointError: More than `MAX_RANK` dimensions, or 2**63 elements and more.
    """
    # Zeros count as ones: the product of the other extents is used as well (cols).
    if len(shape) > MAX_RANK or math.prod(max(extent, 1) for extent in shape) >= 2**63:
        raise damaged(path, f"tensor {name!r}: a shape of {len(shape)} dimensions is too large")


def in_file_order(
    path: Path, tensors: Iterable[TensorInfo], size: int, shared: bool = False
) -> tuple[TensorInfo, ...]:
    """Tensors by ascending offset, which is the order to read them in.

    Args:
        path: The file, for messages.
        tensors: Its tensors; ``stop`` is at least ``start``.
        size: Size of the file in bytes.
        shared: Whether the format allows tensors to share bytes.

    Raises:
        CheckpointError: A tensor is not inside the file or, unless shared, overlaps another.
    """
    ordered = sorted(tensors, key=lambda tensor: (tensor.start, tensor.stop))
    last = max(ordered, key=lambda tensor: tensor.stop, default=None)
    if last is not None and last.stop > size:
        raise damaged(
            path,
            f"truncated: {last.stop - size} bytes missing at the end, "
            f"where the header places tensor {last.name!r}",
        )
    before: TensorInfo | None = None
    for tensor in ordered:
        if not tensor.nbytes:
            continue
        if not shared and before is not None and tensor.start < before.stop:
            raise damaged(path, f"tensors {before.name!r} and {tensor.name!r} overlap")
        before = tensor
    return tuple(ordered)
