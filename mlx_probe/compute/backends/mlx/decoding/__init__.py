"""Packed weights that the device decodes: their words cross over instead of float32 elements.

Every decoder does what the packing's own decoder does, step by step in float32, so that both give
the same bits: integers from shifts and masks, values from small tables, one multiplication or
addition at a time. Scales that are pieces of their own are decoded on the host, which has a few
of them for a thousand elements.

A decoder may leave a block to the packing: for an error that only its values show, and where
scales are so small that a device that takes subnormal numbers for zeros would change an element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import mlx.core as mx

from mlx_probe.compute.backends.mlx.decoding import floats, ggml, grouped, tables
from mlx_probe.core.encoding import Encoded, Encoding

__all__ = ["decode_block", "decodes"]

# Takes a block, and whether the device takes subnormals for zeros. Gives float32 of the block's
# shape, or None for what the packing must decode.
Decoder = Callable[[Encoded, bool], mx.array | None]

DECODERS: Mapping[str, Decoder] = {
    "ggml": ggml.decode,
    "mlx_affine": grouped.decode_affine,
    "signed": grouped.decode_signed,
    "gptq": grouped.decode_gptq,
    "awq_gemm": grouped.decode_awq_gemm,
    "awq_gemv": grouped.decode_awq_gemv,
    "scaled": floats.decode,
    "table": tables.decode,
}


def decodes(encoding: Encoding) -> bool:
    """Whether a device decodes this encoding."""
    if encoding.kind == "ggml":
        return encoding.dtype in ggml.TYPES
    return encoding.kind in DECODERS


def decode_block(block: Encoded, flushes: bool) -> mx.array | None:
    """Elements of a packed block, on the default device.

    Args:
        block: Of an encoding that `decodes` accepts.
        flushes: Whether the device takes subnormal numbers for zeros.

    Returns:
        float32 of the block's shape; None for a block that the packing must decode itself.
    """
    return DECODERS[block.encoding.kind](block, flushes)
