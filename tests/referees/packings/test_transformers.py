"""transformers' 8-bit floats and gpt-oss's MXFP4, by its own operations."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from packers import stored

from referees.packings.cases import Case, Made, judge

ROWS, COLS = 64, 128
DOWN = "model.layers.0.mlp.down_proj"
EXPERTS = "model.layers.0.mlp.experts.gate_up_proj"


def random(*shape):
    import torch

    torch.manual_seed(11)
    return torch.randn(*shape)


def fp8(shape, block, exponents):
    module = pytest.importorskip("transformers.integrations.finegrained_fp8")
    import torch

    settings = {"weight_block_size": block, "scale_fmt": "ue8m0" if exponents else "float"}
    owner = SimpleNamespace(quantization_config=SimpleNamespace(**settings))
    stack = len(shape) == 3
    key = EXPERTS if stack else f"{DOWN}.weight"
    parts = module.Fp8Quantize(owner).convert({key: random(*shape)})
    weight, scale = parts.values()
    values = module.Fp8Dequantize(owner)._dequantize_one(weight, scale, torch.float32)
    tensors = {name: stored(part) for name, part in parts.items()}
    config = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
    config |= settings if block else {}
    return Made(tensors, {key: values.numpy()}, {"quantization_config": config})


def gpt_oss(experts, rows, groups):
    module = pytest.importorskip("transformers.integrations.mxfp4")
    import torch

    rng = np.random.default_rng(11)
    blocks = rng.integers(0, 256, (experts, rows, groups, 16), np.uint8)
    scales = rng.integers(90, 160, (experts, rows, groups), np.uint8)
    # It gives the matrix that inputs are multiplied by: the transpose of what is stored.
    convert = module.convert_moe_packed_tensors
    values = convert(torch.tensor(blocks), torch.tensor(scales), dtype=torch.float32)
    tensors = {f"{EXPERTS}_blocks": (blocks, "U8"), f"{EXPERTS}_scales": (scales, "U8")}
    values = values.transpose(1, 2).contiguous().numpy()
    config = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}
    return Made(tensors, {EXPERTS: values}, config)


CASES = [
    *(
        Case(
            f"fp8 {what}, {'a stack' if len(shape) == 3 else 'a matrix'}, "
            f"{'exponents' if exponents else 'float32 scales'}",
            partial(fp8, shape, block, exponents),
        )
        for what, block in (("32 x 64", [32, 64]), ("16 x 16", [16, 16]), ("one scale", None))
        for shape in ((ROWS, COLS), (3, ROWS, COLS))
        for exponents in (False, True)
    ),
    *(
        Case(f"MXFP4 of {experts} experts, {rows} x {32 * groups}", partial(gpt_oss, *sizes))
        for experts, rows, groups in ((2, 64, 4), (5, 32, 3), (1, 8, 16))
        for sizes in [(experts, rows, groups)]
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_transformers(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
