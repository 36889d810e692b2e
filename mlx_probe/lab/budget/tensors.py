"""The tensors of a matrix in the files, for each choice: names, types, shapes and so bytes.

A quantized module has the tensors of mlx-lm: ``weight`` (words of 32 bits), ``scales`` and, in
the mode "affine", ``biases``. A module that is cut has two factors, W = left @ right:

    PATH.lowrank_left  (m, r)      PATH.lowrank_right  (r, n)

as the packing `lowrank` reads them. The module's own bias stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from mlx_probe.checkpoint.packings.lowrank import LEFT, RIGHT
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.lab.budget.records import Choice, Matrix, Way
from mlx_probe.lab.tensor_stream import TensorSpec, shards_bytes

__all__ = [
    "DOWN",
    "FRAMEWORK",
    "UP",
    "factor_specs",
    "files_bytes",
    "packed_specs",
    "spec",
    "tensors",
]

# Names of the factors behind the module's path.
DOWN, UP = "down.weight", "up.weight"
# What the files say of themselves: mlx-lm's layout.
FRAMEWORK = "mlx"


def spec(name: str, dtype: str, shape: tuple[int, ...]) -> TensorSpec:
    """A tensor of a file, with its bytes."""
    return TensorSpec(name, dtype, shape, math.prod(shape) * DTYPES[dtype].itemsize)


def packed_specs(matrix: Matrix, way: Way) -> tuple[TensorSpec, ...]:
    """The tensors of a quantized weight, as `mlx.core.quantize` gives them.

    Args:
        matrix: The matrix.
        way: Its columns are a multiple of the group.
    """
    *front, cols = matrix.shape
    words, groups = (*front, cols * way.bits // 32), (*front, cols // way.group)
    affine = way.mode == "affine"
    parts = [("weight", "U32", words), ("scales", matrix.dtype if affine else "U8", groups)]
    if affine:
        parts.append(("biases", matrix.dtype, groups))
    return tuple(spec(f"{matrix.path}.{name}", dtype, shape) for name, dtype, shape in parts)


def factor_specs(matrix: Matrix, rank: int) -> tuple[TensorSpec, ...]:
    """The two factors of a weight that is cut."""
    rows, cols = matrix.extents
    left = spec(f"{matrix.path}.{LEFT}", matrix.dtype, (rows, rank))
    return left, spec(f"{matrix.path}.{RIGHT}", matrix.dtype, (rank, cols))


def tensors(matrix: Matrix, choice: Choice) -> tuple[TensorSpec, ...]:
    """All tensors of a matrix when a choice is written, the module's bias among them."""
    if choice.way is not None:
        return (*packed_specs(matrix, choice.way), *matrix.bias)
    if choice.rank is not None:
        return (*factor_specs(matrix, choice.rank), *matrix.bias)
    return matrix.kept


def files_bytes(pairs: Iterable[tuple[Matrix, Choice]]) -> int:
    """Bytes of the files with weights when choices are written: data and headers.

    Args:
        pairs: All parameters of a model, each with its choice.
    """
    return shards_bytes(
        (each for matrix, choice in pairs for each in tensors(matrix, choice)), FRAMEWORK
    )
