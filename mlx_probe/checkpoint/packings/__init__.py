"""The packings, by the name that rows give."""

from mlx_probe.checkpoint.packing import Packing
from mlx_probe.checkpoint.packings import fp8, ggml, mlx, mxfp4

__all__ = ["PACKINGS"]

# In the order in which they are asked: the first that claims a tensor has it.
PACKINGS: dict[str, Packing] = {
    "ggml": ggml,
    "mlx": mlx,
    "mxfp4": mxfp4,
    "fp8": fp8,
}
