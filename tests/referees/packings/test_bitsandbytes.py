"""bitsandbytes' 4-bit tables and int8, by its functions on the CPU."""

from functools import partial

import numpy as np
import pytest
from packers import stored

from referees.packings.cases import HALF_UNIT, Case, Made, judge

SETTINGS = {"quantization_config": {"quant_method": "bitsandbytes"}}
# Its CPU kernel starts blocks anew in every row where a row is not whole blocks (0.50.2), while
# its quantization lets them run on: the widths of the even shapes are multiples of all blocks.
SHAPES = ((32, 512), (3, 1024), (31, 33), (7, 5))


def matrix(shape, dtype):
    import torch

    torch.manual_seed(11)
    return torch.randn(*shape).to(getattr(torch, dtype))


def four_bits(kind, block, nested, shape=(32, 512), dtype="float32", storage="uint8"):
    functional = pytest.importorskip("bitsandbytes.functional")
    import torch

    packed, state = functional.quantize_4bit(
        matrix(shape, dtype),
        blocksize=block,
        quant_type=kind,
        compress_statistics=nested,
        quant_storage=getattr(torch, storage),
    )
    entries = state.as_dict(packed=True)
    state.dtype = torch.float32
    values = functional.dequantize_4bit(packed, state).reshape(shape).numpy()
    tensors = {f"m.weight.{name}": stored(part) for name, part in entries.items()}
    tensors["m.weight"] = stored(packed)
    # The nested statistics and their offset are one operation there.
    slack = np.abs(values) * 4 * HALF_UNIT["F32"] if nested else 0.0
    return Made(tensors, {"m.weight": values}, SETTINGS, slack)


def linear(kind, nested):
    """What a module saves, bias and all."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    module = bitsandbytes.nn.Linear4bit(512, 32, compress_statistics=nested, quant_type=kind)
    module = module.to("cpu")
    if module.weight.quant_state is None:
        module.weight = module.weight._quantize("cpu")
    state = module.weight.quant_state
    tensors = {f"m.{name}": stored(part) for name, part in module.state_dict().items()}
    values = bitsandbytes.functional.dequantize_4bit(module.weight.data, state)
    values = {"m.weight": values.float().numpy(), "m.bias": module.bias.detach().numpy()}
    # As above, and the largest weight is below one.
    return Made(tensors, values, SETTINGS, 4 * HALF_UNIT["F32"] if nested else 0.0)


def int8(shape, dtype, form):
    functional = pytest.importorskip("bitsandbytes.functional")
    import torch

    codes, scales, _ = functional.int8_vectorwise_quant(matrix(shape, dtype))
    values = functional.int8_vectorwise_dequant(codes, scales).float().numpy()
    tensors = {"m.weight": stored(codes), "m.SCB": stored(scales)}
    if form is not None:
        # What Linear8bitLt saves: the number of the layout, 0 for rows.
        tensors["m.weight_format"] = stored(torch.tensor(form, dtype=torch.uint8))
    return Made(tensors, {"m.weight": values}, SETTINGS)


CASES = [
    *(
        Case(
            f"{kind}, block {block}{', nested' * nested}, {shape[0]} x {shape[1]}",
            partial(four_bits, kind, block, nested, shape),
        )
        for kind in ("nf4", "fp4")
        for block in (64, 128, 256, 512)
        for nested in (False, True)
        for shape in SHAPES
    ),
    *(
        Case(
            f"nf4 of {dtype}{', nested' * nested}",
            partial(four_bits, "nf4", 64, nested, dtype=dtype),
        )
        for dtype in ("float16", "bfloat16")
        for nested in (False, True)
    ),
    *(
        Case(f"{kind} stored as {storage}", partial(four_bits, kind, 64, True, storage=storage))
        for kind in ("nf4", "fp4")
        for storage in ("bfloat16", "float16", "float32")
    ),
    *(
        Case(f"Linear4bit, {kind}{', nested' * nested}", partial(linear, kind, nested))
        for kind in ("nf4", "fp4")
        for nested in (False, True)
    ),
    *(
        Case(f"int8 of {dtype}, {shape[0]} x {shape[1]}", partial(int8, shape, dtype, 0))
        for dtype in ("float16", "bfloat16", "float32")
        for shape in SHAPES
    ),
    Case("int8 without its format", partial(int8, (32, 512), "float16", None)),
    Case("int8 in tiles", partial(int8, (32, 512), "float16", 2), "only int8 weights in rows"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bitsandbytes(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
