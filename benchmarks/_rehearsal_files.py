"""Sparse files of a model: headers, index and settings are whole, tensors are holes.

A hole takes no space and reads as zeros. Tensors of zeros would all be copies of each other, which
a published model's are not: each gets a few bytes of its own in its middle, where an analysis
looks first for copies. Chosen tensors get random numbers, so that there is something to measure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
from _checkpoints import Shape, header_of, nbytes, to_bfloat16
from _rehearsal_models import Model, shards_of
from numpy.typing import NDArray

__all__ = ["disk_bytes", "gaussian_bytes", "mark", "write_model"]

# Smaller tensors stay zeros.
MARKED = 64
CHUNK = 1 << 20


def write_model(
    folder: Path, model: Model, filled: Collection[str] = (), is_filled: bool = False, seed: int = 0
) -> int:
    """Write a model's files.

    Args:
        folder: For the files; made.
        model: What is in them.
        filled: Names of tensors that get random numbers.
        is_filled: Whether all of them do.
        seed: Of the numbers.

    Returns:
        Bytes of all tensors.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    weight_map, total = {}, 0
    for file_name, tensors in shards_of(model).items():
        begin = header_of(tensors, {"format": "pt"})
        with (folder / file_name).open("wb") as file:
            file.write(begin)
            place = len(begin)
            for name, (dtype, shape) in tensors.items():
                size = nbytes(dtype, shape)
                weight_map[name] = file_name
                if is_filled or name in filled:
                    file.seek(place)
                    file.writelines(gaussian_bytes(random, name, dtype, shape))
                else:
                    mark(file, place, size, shape, len(weight_map))
                place += size
            file.truncate(place)
        total += place - len(begin)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    (folder / "config.json").write_text(json.dumps(model.config, indent=2))
    return total


def mark(file: BinaryIO, place: int, size: int, shape: Shape, number: int) -> None:
    """Put a number's digits in the middle of a tensor, or of each matrix of a stack.

    They are neither NaN nor infinite in any type.
    """
    parts = shape[0] if len(shape) > 2 else 1
    for part in range(parts) if size // parts >= MARKED else ():
        code = (number << 9) + part
        file.seek(place + size * (2 * part + 1) // (2 * parts))
        file.write(bytes(0x20 | (code >> (4 * digit)) & 0xF for digit in range(8)))


def gaussian_bytes(
    random: np.random.Generator, name: str, dtype: str, shape: Shape
) -> Iterable[bytes]:
    """The bytes of a tensor of random numbers, some at a time: Gaussian ones, and scales."""
    left = prod(shape)
    while left > 0:
        count = min(left, CHUNK)
        left -= count
        x = random.standard_normal(count, np.float32)
        if name.endswith("weight_scale_inv"):
            yield (1e-4 * np.exp(0.1 * x)).tobytes()
        elif dtype == "F8_E4M3":
            yield _to_fp8(50 * x).tobytes()
        elif name.endswith("_scales"):
            # Powers of two around 1/64.
            yield np.clip(121 + x, 0, 254).astype(np.uint8).tobytes()
        elif dtype == "U8":
            yield random.bytes(count)
        elif dtype == "BF16":
            yield to_bfloat16(0.02 * x).tobytes()
        else:
            yield x.tobytes()


def disk_bytes(folder: Path) -> int:
    """What files take of the disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def _fp8_codes() -> NDArray[np.uint8]:
    """The nearest e4m3 code of every number of 16 bits, by its word."""
    codes = np.arange(127)
    exponent, fraction = codes >> 3, codes & 7
    values = np.where(exponent > 0, (8 + fraction) * 2.0 ** (exponent - 10), fraction * 2.0**-9)
    borders = (values[1:] + values[:-1]) / 2
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
    nearest = np.searchsorted(borders, np.nan_to_num(np.abs(half)))
    return (nearest | np.where(np.signbit(half), 0x80, 0)).astype(np.uint8)


_FP8 = _fp8_codes()


def _to_fp8(x: NDArray[np.float32]) -> NDArray[np.uint8]:
    return _FP8[x.astype(np.float16).view(np.uint16)]
