"""The packings, by the name that rows give."""

from mlx_probe.checkpoint.packings import (
    awq,
    bitsandbytes,
    compressed_tensors,
    fp8,
    ggml,
    gptq,
    mlx,
    mxfp4,
)
from mlx_probe.checkpoint.packings.protocol import Packing

__all__ = ["PACKINGS"]

# In the order in which they are asked: the first that claims a tensor has it. AWQ's pieces are
# named as GPTQ's; plain scaled floats come last.
PACKINGS: dict[str, Packing] = {
    "ggml": ggml,
    "mlx": mlx,
    "awq": awq,
    "gptq": gptq,
    "bitsandbytes": bitsandbytes,
    "compressed_tensors": compressed_tensors,
    "mxfp4": mxfp4,
    "fp8": fp8,
}
