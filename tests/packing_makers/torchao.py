"""torchao 0.18: its tensor classes, flattened as it and transformers write safetensors files."""

PACKAGE = "torchao"


def cases(seed=0):
    import json

    import torch
    from torchao.prototype.mx_formats.mx_tensor import MXTensor
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import (
        Float8Tensor,
        Int8Tensor,
        IntxUnpackedToInt8Tensor,
        MappingType,
        PerRow,
        PerTensor,
    )
    from torchao.quantization.granularity import PerBlock, PerGroup

    torch.manual_seed(seed)

    def weight(*shape):
        return torch.randn(*shape) * 0.02 + 0.003

    asymmetric = {"mapping_type": MappingType.ASYMMETRIC}
    float8, int8 = Float8Tensor.from_hp, Int8Tensor.from_hp
    intx, nvfp4, mx = IntxUnpackedToInt8Tensor.from_hp, NVFP4Tensor.to_nvfp4, MXTensor.to_mx
    tensors = {
        "float8 rows": float8(weight(24, 64), granularity=PerRow()),
        "float8 tensor": float8(weight(24, 64), granularity=PerTensor()),
        "float8 blocks": float8(weight(24, 64), granularity=PerBlock([8, 16])),
        "float8 e5m2": float8(weight(24, 64), torch.float8_e5m2, granularity=PerRow()),
        "float8 experts": float8(weight(3, 24, 64), granularity=PerRow()),
        "int8 rows": int8(weight(24, 64), PerRow()),
        "int8 tensor": int8(weight(24, 64), PerTensor()),
        "int8 groups": int8(weight(24, 64), PerGroup(16)),
        "int8 asymmetric": int8(weight(24, 64), PerRow(), **asymmetric),
        "intx 4 bits": intx(weight(24, 64), (1, 32), torch.int4),
        "intx 3 bits": intx(weight(24, 64), (1, 16), torch.int3, **asymmetric),
        "nvfp4": nvfp4(weight(24, 64)),
        "nvfp4 scaled": nvfp4(weight(24, 64), per_tensor_scale=torch.tensor(2.5e-5)),
        "nvfp4 tiles": nvfp4(weight(144, 96), is_swizzled_scales=True),
        "mx float8": mx(weight(24, 64), torch.float8_e4m3fn, 32),
        "mx e5m2": mx(weight(24, 64), torch.float8_e5m2, 32),
        "mx float4": mx(weight(24, 64), torch.float4_e2m1fn_x2, 32),
        "mx tiles": mx(weight(160, 192), torch.float8_e4m3fn, 32, is_swizzled_scales=True),
    }
    made = {}
    for name, tensor in tensors.items():
        stored, metadata = flatten_tensor_state_dict({"m.weight": tensor})
        config = {"quant_method": "torchao", "__metadata__": json.loads(json.dumps(metadata))}
        made[f"torchao {name}"] = stored, config, tensor.dequantize()
        if name == "float8 rows":
            # As torchao 0.14 called them.
            older = {key.replace("._weight_", ".weight:"): piece for key, piece in stored.items()}
            made[f"torchao {name} 0.14"] = older, config, tensor.dequantize()
    return made
