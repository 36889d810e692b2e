"""nvidia-modelopt 0.47: its tensors of NVFP4 and MXFP4."""

PACKAGE = "modelopt"
ROWS, COLS = 8, 192


def cases(seed=0):
    import torch
    from modelopt.torch.quantization.qtensor import MXFP4QTensor, NVFP4QTensor

    torch.manual_seed(seed)
    made = {}
    weight = torch.randn(ROWS, COLS) * 0.02
    packed, scale, whole = NVFP4QTensor.quantize(weight.clone(), 16)
    values = packed.dequantize(torch.float32, scale=scale, double_scale=whole, block_sizes={-1: 16})
    tensors = {"weight": packed._quantized_data, "weight_scale": scale, "weight_scale_2": whole}
    made["modelopt NVFP4"] = _case(tensors, "NVFP4", values)
    packed, scale = MXFP4QTensor.quantize(weight.clone(), 32)
    values = packed.dequantize(torch.float32, scale=scale, block_sizes={-1: 32})
    tensors = {"weight": packed._quantized_data, "weight_scale": scale.reshape(ROWS, -1)}
    made["modelopt MXFP4"] = _case(tensors, "W4A8_MXFP4_FP8", values)
    return made


def _case(tensors, algorithm, values):
    config = {"quant_method": "modelopt", "quant_algo": algorithm}
    return {f"m.{name}": tensor for name, tensor in tensors.items()}, config, values
