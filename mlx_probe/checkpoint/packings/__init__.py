"""The packings, by the name that rows give.

A new packing is one file with a ``claim`` and a ``layout``, and one record here.
"""

from mlx_probe.checkpoint.packings.auto_round import METHODS as _AUTO_ROUND
from mlx_probe.checkpoint.packings.protocol import Packing

__all__ = ["PACKINGS"]

# The first that claims a tensor gets it. AWQ comes before GPTQ, whose pieces have the same names;
# plain floats with scales come last.
PACKINGS: dict[str, Packing] = {
    "ggml": Packing("mlx_probe.checkpoint.packings.ggml", "block types of GGUF", None),
    "mlx": Packing(
        "mlx_probe.checkpoint.packings.mlx",
        "MLX's affine mode (1 to 8 bits, any group size, settings for single layers), mxfp4, "
        "mxfp8, nvfp4",
        (),
    ),
    "lowrank": Packing(
        "mlx_probe.checkpoint.packings.lowrank",
        "two narrow factors, `lowrank_left` and `lowrank_right`, as `mlx-probe budget --export` "
        "writes them",
        (),
    ),
    "comfy": Packing(
        "mlx_probe.checkpoint.packings.comfy",
        "ComfyUI: fp8_scaled, and the formats float8, int8 (rotated too), awq_w4a16, nvfp4, mxfp8",
        (),
    ),
    "awq": Packing(
        "mlx_probe.checkpoint.packings.awq",
        "AWQ, gemm and gemv; AutoRound's of 4 to 7 bits",
        ("awq", *_AUTO_ROUND),
    ),
    "gptq": Packing(
        "mlx_probe.checkpoint.packings.gptq",
        "GPTQ v1 and v2: 2, 3, 4 and 8 bits, act-order; AutoRound's of 2 to 8 bits",
        ("gptq", *_AUTO_ROUND),
    ),
    "bitsandbytes": Packing(
        "mlx_probe.checkpoint.packings.bitsandbytes",
        "NF4 and FP4 (nested statistics too), int8",
        ("bitsandbytes",),
    ),
    "compressed_tensors": Packing(
        "mlx_probe.checkpoint.packings.compressed_tensors",
        "pack-quantized integers, int8, FP8, nvfp4, mxfp4, mxfp6, mxfp8; AutoRound's MXINT4 and "
        "NVFP4 v2",
        ("compressed-tensors", *_AUTO_ROUND),
    ),
    "bitmask": Packing(
        "mlx_probe.checkpoint.packings.bitmask",
        "compressed-tensors' sparse-24-bitmask and sparse-bitmask",
        ("compressed-tensors",),
    ),
    "modelopt": Packing(
        "mlx_probe.checkpoint.packings.modelopt",
        "NVFP4 with `weight_scale_2`, MXFP4",
        ("modelopt", "modelopt_fp4", "modelopt_mixed"),
    ),
    "exl2": Packing("mlx_probe.checkpoint.packings.exl2", "2 to 8 bits, by group", ("exl2",)),
    "hqq": Packing(
        "mlx_probe.checkpoint.packings.hqq",
        "`W_q` of 1, 2, 3, 4, 5, 6 and 8 bits, both axes, as safetensors and `qmodel.pt`",
        ("hqq",),
    ),
    "bitnet": Packing(
        "mlx_probe.checkpoint.packings.bitnet", "ternary, four in a byte", ("bitnet",)
    ),
    "torchao": Packing(
        "mlx_probe.checkpoint.packings.torchao",
        "Float8Tensor, Int8Tensor, IntxUnpackedToInt8Tensor, Int4Tensor, MXTensor, NVFP4Tensor",
        ("torchao",),
    ),
    "quanto": Packing(
        "mlx_probe.checkpoint.packings.quanto",
        "qint8, qfloat8, and qint4 and qint2 where bias or config.json show the shape",
        ("quanto",),
    ),
    "mxfp4": Packing(
        "mlx_probe.checkpoint.packings.mxfp4", "gpt-oss: `_blocks` and `_scales`", ("mxfp4",)
    ),
    "fp8": Packing(
        "mlx_probe.checkpoint.packings.fp8",
        "E4M3 and E5M2 with one scale, a scale for each row, or blocks (DeepSeek's 128 x 128)",
        ("fp8", "fbgemm_fp8", "modelopt", "modelopt_mixed", "quark", *_AUTO_ROUND),
    ),
}
