"""Packed tensors for the tests: by the published formulas, and golden by the libraries.

The libraries need torch and accelerators' kernels, so their results are kept in the data folder. To
make them again: ``pip install torch auto-gptq==0.7.1 gptqmodel==7.7.0 autoawq==0.2.9
bitsandbytes==0.50.2 compressed-tensors==0.20.0``, then ``python tests/packers.py``.
"""

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "data" / "packings" / "golden.npz"
ROWS, COLS = 32, 96
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def pack_rows(codes, bits):
    """Codes of a row from the lowest bit up, as one long integer does it; 32-bit words."""
    rows = []
    for line in codes:
        number = sum(int(code) << (bits * i) for i, code in enumerate(line))
        words = -(-len(line) * bits // 32)
        rows.append(np.frombuffer(number.to_bytes(words * 4, "little"), "<i4"))
    return np.array(rows, "<i4")


def gptq(codes, zeros, scales, bits, version=1):
    """GPTQ's pieces of (out, in) codes with (out, groups) zero points and scales."""
    return {
        "qweight": (np.ascontiguousarray(pack_rows(codes, bits).T), "I32"),
        "qzeros": (pack_rows((zeros.T.astype(int) - (version == 1)) % (1 << bits), bits), "I32"),
        "scales": (np.ascontiguousarray(scales.T), "F16"),
    }


def awq(codes, zeros, scales):
    """AWQ's pieces (gemm) of (out, in) codes with (out, groups) zero points and scales."""

    def shuffled(lines):
        return np.ascontiguousarray(lines.T).reshape(lines.shape[1], -1, 8)[..., AWQ_ORDER]

    return {
        "qweight": (pack_rows(shuffled(codes).reshape(codes.shape[::-1]), 4), "I32"),
        "qzeros": (pack_rows(shuffled(zeros).reshape(zeros.shape[::-1]), 4), "I32"),
        "scales": (np.ascontiguousarray(scales.T), "F16"),
    }


def awq_gemv(codes, zeros, scales):
    """AWQ's pieces (gemv); groups of 64 are padded to two whole words."""
    padding = ((0, 0), (0, -zeros.shape[1] % 16))
    return {
        "qweight": (pack_rows(codes, 4), "I32"),
        "qzeros": (pack_rows(np.pad(zeros, padding), 4), "I32"),
        "scales": (np.pad(scales, padding), "F16"),
    }


def compressed(codes, zeros, scales, bits):
    """compressed-tensors' pieces (pack-quantized) of unsigned codes; its own are signed."""
    return {
        "weight_packed": (pack_rows(codes, bits), "I32"),
        "weight_scale": (scales, "F16"),
        "weight_zero_point": (np.ascontiguousarray(pack_rows(zeros.T, bits).T), "I32"),
        "weight_shape": (np.array(codes.shape, "<i8"), "I64"),
    }


def exl2(groups, codes, scales, largest, places):
    """EXL2's pieces of sorted (in, out) codes; ``groups`` are bits and inputs of each."""
    words, table = [], []
    for (bits, _), group in zip(groups, codes, strict=True):
        table += [bits, sum(map(len, words))]
        words.append(np.ascontiguousarray(pack_rows(group.T, bits).T))
    return {
        "q_weight": (np.concatenate(words), "I32"),
        "q_invperm": (places.astype("<i4"), "I32"),
        # One less is stored, eight in a word.
        "q_scale": (pack_rows(scales - 1, 4), "I32"),
        "q_scale_max": (largest, "F16"),
        "q_groups": (np.array(table, "<i2"), "I16"),
    }


def hqq(codes, zeros, scales, bits, axis, shape, group):
    """hqq's pieces of unfolded codes: words hold those of distant rows, the first one highest."""
    count, word = (10, "<u4") if bits == 3 else (8 // bits, "u1")
    folds = np.pad(codes, ((0, -len(codes) % count), (0, 0))).astype(word)
    folds = folds.reshape(count, -1, codes.shape[1])
    packed = sum(
        part << word_bits for part, word_bits in zip(folds, _shifts(bits, count), strict=True)
    )
    name = "3bit_32" if bits == 3 else f"{bits}bit_u8"
    return {
        "W_q": (packed.view("<i4" if bits == 3 else "u1"), "I32" if bits == 3 else "U8"),
        "scale": (scales, "F16"),
        "zero": (zeros, "F16"),
        "shape": (np.array(shape, "<i8"), "I64"),
        "axis": (np.array(axis, "<i4"), "I32"),
        "group_size": (np.array(group, "<i4"), "I32"),
        "packing": (np.frombuffer(name.encode(), np.uint8), "U8"),
    }


def _shifts(bits, count):
    return [
        np.array(bits * (count - 1 - place), "<u4" if bits == 3 else "u1") for place in range(count)
    ]


def nibbles(codes):
    """bitsandbytes: the flattened codes two to a byte, the earlier one in the upper half."""
    flat = np.append(codes.reshape(-1), [0] * (codes.size % 2)).astype(np.uint8)
    return (flat[::2] << 4 | flat[1::2]).reshape(-1, 1)


def golden(path=GOLDEN):
    """The libraries' cases: name -> (stored tensors, quantization_config, their values)."""
    cases = {}
    with np.load(path) as data:
        for key in data.files:
            case, _, tensor = key.partition("|")
            tensors, config, values = cases.setdefault(case, ({}, {}, []))
            if tensor == "config":
                config.update(json.loads(str(data[key])))
            elif tensor == "values":
                values.append(data[key])
            else:
                name, _, dtype = tensor.rpartition(":")
                tensors[name] = data[key], dtype
    return {case: (tensors, config, values[0]) for case, (tensors, config, values) in cases.items()}


def main():
    cases = {}
    for make in (_gptq, _awq, _compressed_tensors, _bitsandbytes):
        cases |= make()
    arrays = {}
    for case, (tensors, config, values) in cases.items():
        arrays[f"{case}|config"] = np.array(json.dumps(config))
        arrays[f"{case}|values"] = values.float().contiguous().numpy()
        for name, tensor in tensors.items():
            array, dtype = stored(tensor)
            arrays[f"{case}|{name}:{dtype}"] = array
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **arrays)


def stored(tensor):
    """A torch tensor as words, with the name of its type in safetensors."""
    import torch

    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    names |= {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0"}
    names |= {"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"}
    name = names[str(tensor.dtype).removeprefix("torch.")]
    view = {"BF16": torch.uint16}.get(name, torch.uint8 if name.startswith("F8") else tensor.dtype)
    return tensor.detach().contiguous().view(view).numpy(), name


def _linear(rows=ROWS, cols=COLS):
    import torch

    torch.manual_seed(11)
    linear = torch.nn.Linear(cols, rows, bias=False)
    return linear.requires_grad_(False)


def _affine(weight, bits, group):
    """Scales and zero points of (out, groups)."""
    lines = weight.reshape(len(weight), -1, group)
    low, high = lines.amin(-1).clamp(max=0), lines.amax(-1).clamp(min=0)
    scales = ((high - low) / (2**bits - 1)).half().float()
    # AutoGPTQ cannot store zero: it would wrap in its own packing as well.
    zeros = (-low / scales).round().clamp(1, 2**bits - 1)
    return scales, zeros


def _gptq():
    import tempfile

    import torch
    from auto_gptq.nn_modules.qlinear.qlinear_cuda import QuantLinear
    from gptqmodel.utils.model_dequant import _shift_gptq_qzeros, convert_gptq_file
    from safetensors.torch import save_file

    cases = {}
    for bits in (2, 3, 4, 8):
        for form in ("gptq", "gptq_v2"):
            linear = _linear()
            scales, zeros = _affine(linear.weight, bits, 32)
            order = torch.arange(COLS) // 32
            if form == "gptq_v2":
                order = order[torch.randperm(COLS)]
            packed = QuantLinear(bits, 32, COLS, ROWS, False, weight_dtype=torch.float16)
            packed.pack(linear, scales, zeros.clone(), order.int())
            tensors = packed.state_dict()
            tensors["scales"] = tensors["scales"].half()
            if form == "gptq_v2":
                tensors["qzeros"] = _shift_gptq_qzeros(tensors["qzeros"], bits, delta=1)
            tensors = {f"m.{name}": tensor.contiguous() for name, tensor in tensors.items()}
            config = {"quant_method": "gptq", "bits": bits, "group_size": 32}
            config |= {"checkpoint_format": form}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                save_file(tensors, path)
                values = convert_gptq_file(path, torch.float32, config, "cpu")["m.weight"]
            cases[f"gptq {form} {bits} bit"] = tensors, config, values
    return cases


def _awq():
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.utils.packing_utils import dequantize_gemm

    cases = {}
    linear = _linear(cols=128)
    for group in (32, 64, 128):
        scales, zeros = _affine(linear.weight, 4, group)
        gemm = WQLinear_GEMM.from_linear(
            linear, 4, group, scales=scales.T.contiguous(), zeros=zeros.T.contiguous()
        )
        values = dequantize_gemm(gemm.qweight, gemm.qzeros, gemm.scales.float(), 4, group).T
        gemv = WQLinear_GEMV.from_linear(linear, 4, group, scales=scales, zeros=zeros)
        for version, module in (("gemm", gemm), ("gemv", gemv)):
            tensors = {f"m.{name}": tensor for name, tensor in module.state_dict().items()}
            config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": version}
            cases[f"awq {version} {group}"] = tensors, config, values
    return cases


# Format, then the arguments of QuantizationArgs, the columns and the type of the scales.
_SCHEMES = {
    **{
        f"{bits} bit group": ("pack-quantized", {"num_bits": bits, "group_size": 32}, 96, "float32")
        for bits in range(1, 9)
    },
    "4 bit asymmetric": (
        "pack-quantized",
        {"num_bits": 4, "group_size": 32, "symmetric": False},
        96,
        "float16",
    ),
    "3 bit asymmetric": (
        "pack-quantized",
        {"num_bits": 3, "strategy": "channel", "symmetric": False},
        40,
        "bfloat16",
    ),
    "5 bit channel": ("pack-quantized", {"num_bits": 5, "strategy": "channel"}, 41, "float32"),
    "4 bit tensor": ("pack-quantized", {"num_bits": 4, "strategy": "tensor"}, 96, "float32"),
    "int8 channel": ("int-quantized", {"num_bits": 8, "strategy": "channel"}, 96, "float32"),
    "int8 tensor": (
        "naive-quantized",
        {"num_bits": 8, "strategy": "tensor", "symmetric": False},
        96,
        "bfloat16",
    ),
    "fp8 tensor": (
        "float-quantized",
        {"num_bits": 8, "type": "float", "strategy": "tensor"},
        96,
        "float32",
    ),
    "fp8 channel": (
        "float-quantized",
        {"num_bits": 8, "type": "float", "strategy": "channel"},
        96,
        "bfloat16",
    ),
    "fp8 block": (
        "float-quantized",
        {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [12, 20]},
        96,
        "float32",
    ),
    "nvfp4": (
        "nvfp4-pack-quantized",
        {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
        96,
        "float32",
    ),
    "mxfp4": (
        "mxfp4-pack-quantized",
        {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32},
        96,
        "bfloat16",
    ),
    "mxfp8": (
        "mxfp8-quantized",
        {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 32},
        96,
        "bfloat16",
    ),
}


def _compressed_tensors():
    import torch
    from compressed_tensors.quantization import QuantizationArgs

    cases = {}
    for name, (form, settings, cols, dtype) in _SCHEMES.items():
        args = QuantizationArgs(**settings)
        weight = _linear(cols=cols).weight
        rows = len(weight)
        height, width = {
            "tensor": (rows, cols),
            "channel": (1, cols),
            "block": args.block_structure,
        }.get(args.strategy, (1, args.group_size))
        padded = torch.nn.functional.pad(weight, (0, -cols % width, 0, -rows % height))
        blocks = padded.reshape(-(-rows // height), height, -(-cols // width), width)
        largest = {("int", 1): 1}.get((args.type, args.num_bits), 2 ** (args.num_bits - 1))
        largest = {4: 6, 8: 448}[args.num_bits] if args.type == "float" else largest
        scale = (blocks.abs().amax((1, 3)) / largest).to(getattr(torch, dtype))
        if form.startswith("mx"):
            scale = torch.exp2(torch.ceil(torch.log2(scale)))
        if args.strategy == "tensor":
            scale = scale.reshape(1)
        state = {"weight": weight, "weight_scale": scale}
        if not args.symmetric:
            state["weight_zero_point"] = torch.randint(-3, 4, scale.shape, dtype=torch.int8)
        if form.startswith("nv"):
            state["weight_global_scale"] = torch.tensor([448 / scale.max().item()])
            state["weight_scale"] = (
                (scale * state["weight_global_scale"]).to(torch.float8_e4m3fn).float()
            )
        cases[f"compressed_tensors {name}"] = by_compressed_tensors(form, args, state)
    return cases


def by_compressed_tensors(form, args, state):
    """Tensors, config.json's settings and values of a layer, by compressed-tensors itself."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    compressor = BaseCompressor.get_value_from_registry(form)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    packed = compressor.compress(state, scheme)
    values = compressor.decompress(dict(packed), scheme)["weight"]
    group = {"targets": ["Linear"], "weights": args.model_dump(mode="json")}
    config = {"quant_method": "compressed-tensors", "format": form}
    config |= {"config_groups": {"group_0": group}}
    tensors = {f"m.{key}": tensor for key, tensor in packed.items() if tensor is not None}
    return tensors, config, values


def _bitsandbytes():
    from bitsandbytes import functional

    cases = {}
    config = {"quant_method": "bitsandbytes"}
    for kind in ("nf4", "fp4"):
        for nested in (False, True):
            # Even widths that are not whole blocks come out wrong from its CPU kernel (0.50.2):
            # blocks restart there with every row, while its quantization lets them run on.
            for shape in ((32, 128), (31, 33)):
                weight = _linear(*shape).weight
                packed, state = functional.quantize_4bit(
                    weight, blocksize=64, quant_type=kind, compress_statistics=nested
                )
                values = functional.dequantize_4bit(packed, state)
                entries = state.as_dict(packed=True)
                tensors = {f"m.weight.{key}": tensor for key, tensor in entries.items()}
                name = f"bitsandbytes {kind} {shape[0]}x{shape[1]}{' nested' * nested}"
                cases[name] = {"m.weight": packed, **tensors}, config, values
    codes, scales, _ = functional.int8_vectorwise_quant(_linear().weight.half())
    values = functional.int8_vectorwise_dequant(codes, scales)
    cases["bitsandbytes int8"] = {"m.weight": codes, "m.SCB": scales}, config, values
    return cases


if __name__ == "__main__":
    main()
