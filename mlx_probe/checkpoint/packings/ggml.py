"""ggml's block formats, which GGUF files use: groups of numbers with shared scales.

Sizes and decoders come from the gguf package, which is imported when a file needs it: that takes
as long as a small matrix. What most files use is here: the sizes of the usual types, and decoders
of the simplest ones, to the same values in a fifth to two thirds of the package's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint.packings.checks import require_piece
from mlx_probe.checkpoint.packings.protocol import (
    Claim,
    Context,
    Decode,
    Index,
    Layout,
    Piece,
)
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.encoding import Encoding
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["BlockType", "block_type", "claim", "layout"]


# In the metadata of every GGUF model.
_ARCHITECTURE = "general.architecture"


@dataclass(frozen=True)
class BlockType:
    """A tensor type of ggml.

    Attributes:
        name: Key of `DTYPES` for plain elements ("F32"), otherwise ggml's name ("Q4_1").
        elements: Elements in a block, all of one row; 0 if unknown.
        nbytes: Bytes of a block; 0 if unknown.
        problem: Why blocks cannot be decoded; None if they can.
    """

    name: str
    elements: int
    nbytes: int
    problem: str | None = None


@dataclass(frozen=True)
class _Affine:
    """A type whose blocks are 32 codes with one scale: scale * (code - zero) + bias, in float32.

    A block is the scale and the bias in float16, the fifth bits of the codes, and their lower
    four bits; the lower halves of the bytes are the first 16 codes. 8-bit codes are signed bytes
    instead.

    Attributes:
        bits: Width of a code: 4, 5 or 8.
        zero: The code of the number 0, without a bias.
        biased: Whether there is a bias.

    Source: ggml, ggml-common.h (block_q4_0 and its like) and ggml-quants.c (dequantize_row_q4_0
    and its like).
    """

    bits: int
    zero: int = 0
    biased: bool = False

    @property
    def block(self) -> np.dtype[np.void]:
        """The parts of a block as whole fields: numpy copies single bytes much more slowly."""
        fifths = [("fifths", "V4")] if self.bits == 5 else []
        codes = "V32" if self.bits == 8 else "V16"
        return np.dtype([("factors", "V4" if self.biased else "V2"), *fifths, ("codes", codes)])


_AFFINE = {
    "Q4_0": _Affine(4, zero=8),
    "Q4_1": _Affine(4, biased=True),
    "Q5_0": _Affine(5, zero=16),
    "Q5_1": _Affine(5, biased=True),
    "Q8_0": _Affine(8),
}


# The usual types by their numbers in GGUF files. They do not change: files hold the numbers.
_USUAL = {
    0: BlockType("F32", 1, 4),
    1: BlockType("F16", 1, 2),
    2: BlockType("Q4_0", 32, 18),
    3: BlockType("Q4_1", 32, 20),
    6: BlockType("Q5_0", 32, 22),
    7: BlockType("Q5_1", 32, 24),
    8: BlockType("Q8_0", 32, 34),
    10: BlockType("Q2_K", 256, 84),
    11: BlockType("Q3_K", 256, 110),
    12: BlockType("Q4_K", 256, 144),
    13: BlockType("Q5_K", 256, 176),
    14: BlockType("Q6_K", 256, 210),
    30: BlockType("BF16", 1, 2),
}
_USUAL_SIZES = {kind.name: (kind.elements, kind.nbytes) for kind in _USUAL.values()}


@lru_cache
def block_type(number: int) -> BlockType:
    """The tensor type with the number ``number`` in GGUF files."""
    if number in _USUAL:
        return _USUAL[number]
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        name = GGMLQuantizationType(number).name
    except ValueError:
        problem = f"ggml type {number} is not known to the installed gguf package"
        return BlockType(f"ggml_type_{number}", 0, 0, problem)
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
    if name in DTYPES:
        return BlockType(name, elements, nbytes)
    try:
        _unpack(np.zeros((1, nbytes), np.uint8), name)
    except NotImplementedError:
        problem = f"dtype {name} is not supported: the installed gguf package cannot decode it"
        return BlockType(name, elements, nbytes, problem)
    return BlockType(name, elements, nbytes)


def claim(tensor: TensorInfo, context: Context) -> Claim | None:
    """Every tensor of a type that only ggml has, and plain floats that have scales."""
    if tensor.problem or not tensor.shape:
        return None
    scales, inputs = _scales(tensor, context)
    if tensor.dtype in DTYPES:
        is_ours = bool(scales or inputs) and DTYPES[tensor.dtype].kind == "float"
    else:
        is_ours = _sizes(tensor.dtype) is not None
    return Claim(tensor.name, (tensor, *scales), inputs) if is_ours else None


def _scales(
    tensor: TensorInfo, context: Context
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """``blk.0.attn_q.scale`` of ``blk.0.attn_q.weight``, and what does not change the values.

    llama.cpp multiplies every product with the weight by one number for each matrix, whatever the
    weight's type is: NVFP4 and BitNet have it. ``input_scale`` only serves its kernels, and
    Gemma 4's router has parameters of its own under such names: a gain of its input, and a factor
    for the contribution of each expert.
    """
    base = tensor.name.removesuffix("weight")
    architecture = context.metadata.get(_ARCHITECTURE)
    if base == tensor.name or not isinstance(architecture, str):
        return (), ()
    scales, inputs = context.find(f"{base}scale"), context.find(f"{base}input_scale")
    experts = architecture.startswith("gemma4") and base.endswith(".ffn_down_exps.")
    if experts or base.endswith(".ffn_gate_inp."):
        return (), (*scales, *inputs)
    stack = tensor.shape[:-2]
    fitting = [(math.prod(stack),), *([()] if not stack else [])]
    return tuple(scale for scale in scales if scale.shape in fitting), inputs


def layout(claim: Claim, context: Context) -> Layout:
    """Whole blocks along the rows; the format's reader has checked them."""
    tensor, *scales = claim.pieces
    for scale in scales:
        require_piece(scale, ("F32",), scale.shape)
    if tensor.dtype == "NVFP4" and any(piece.name.endswith(".scale") for piece in claim.extra):
        raise PackingError(f"{claim.extra[0].name}: NVFP4's scale, or one of the router")
    plain = tensor.dtype in DTYPES
    elements, _ = (1, 1) if plain else _sizes(tensor.dtype) or (1, 1)
    decode = _decode_plain if plain else partial(_decode, dtype=tensor.dtype, elements=elements)
    detail = tensor.dtype if plain else f"{tensor.dtype}, blocks of {elements}"
    if scales:
        return Layout(tensor.shape, f"{detail}, scaled", partial(_decode_scaled, decode=decode))
    encoding = None if plain else Encoding("ggml", tensor.dtype)
    return Layout(tensor.shape, detail, decode, encoding=encoding)


def _decode_scaled(
    pieces: Sequence[Piece], rows: Index, cols: slice, decode: Decode
) -> NDArray[np.float32]:
    main, scale = pieces
    with np.errstate(over="ignore", invalid="ignore"):
        return decode([main], rows, cols) * scale.values().reshape(())


def _decode_plain(pieces: Sequence[Piece], rows: Index, cols: slice) -> NDArray[np.float32]:
    return pieces[0].values(rows, cols)


def _decode(
    pieces: Sequence[Piece], rows: Index, cols: slice, dtype: str, elements: int
) -> NDArray[np.float32]:
    # The words are the bytes of the rows. Columns are cut at multiples of 1024: at whole blocks.
    (blocks,) = pieces
    nbytes = (_sizes(dtype) or (1, 1))[1]
    stored = blocks.words[
        rows, cols.start // elements * nbytes : -(-cols.stop // elements) * nbytes
    ]
    return _unpack(np.ascontiguousarray(stored), dtype)


@lru_cache
def _sizes(dtype: str) -> tuple[int, int] | None:
    """Elements and bytes of one block of ggml's type ``dtype``."""
    if dtype in _USUAL_SIZES:
        return _USUAL_SIZES[dtype]
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    if dtype not in GGMLQuantizationType.__members__:
        return None
    return GGML_QUANT_SIZES[GGMLQuantizationType[dtype]]


def _unpack(stored: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """Decode whole blocks.

    Args:
        stored: uint8 of shape (rows, bytes), contiguous.
        dtype: ggml's name for the type.

    Returns:
        float32 of shape (rows, elements).

    Raises:
        NotImplementedError: The gguf package has no decoder for this type.
    """
    # A scale may be infinite or NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype in _AFFINE:
            return _unpack_affine(stored, _AFFINE[dtype])
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        return dequantize(stored, GGMLQuantizationType[dtype])


def _unpack_affine(stored: NDArray[np.uint8], form: _Affine) -> NDArray[np.float32]:
    """`_unpack` of the affine types: gguf's operations in gguf's order, so the values are equal."""
    blocks = stored.view(form.block).reshape(-1)

    def part(name: str, dtype: str) -> NDArray[Any]:
        return np.ascontiguousarray(blocks[name]).view(dtype).reshape(blocks.size, -1)

    if form.bits == 8:
        codes = part("codes", "i1")
    else:
        nibbles = part("codes", "u1")
        halves = [half.view("V16") for half in (nibbles & 15, nibbles >> 4)]
        codes = np.concatenate(halves, axis=1).view(np.uint8)
    if form.bits == 5:
        fifths = np.unpackbits(part("fifths", "u1").ravel(), bitorder="little")
        codes |= fifths.reshape(codes.shape) * np.uint8(16)
    factors = part("factors", "<f2").astype(np.float32)
    out: NDArray[np.float32] = codes.astype(np.float32)
    if form.zero:
        out -= form.zero
    out *= factors[:, :1]
    if form.biased:
        out += factors[:, 1:]
    return out.reshape(len(stored), -1)
