"""compressed-tensors: every format, strategy, width and preset scheme, by its own compressors."""

from functools import partial

import pytest

from referees.packings.cases import Case, judge
from referees.packings.compressed import Scheme, compressed

GROUP = {"strategy": "group", "group_size": 32}
STRATEGIES = {
    "tensor": {"strategy": "tensor"},
    "channel": {"strategy": "channel"},
    "group": GROUP,
    "block": {"strategy": "block", "block_structure": [12, 20]},
}
# For activations only: weights have no tokens.
TOKEN = {"strategy": "token", "dynamic": True}
FP8 = {"type": "float", "num_bits": 8}
MX = {"type": "float", **GROUP}
PRESETS = (
    *("UNQUANTIZED", "W4A16_ASYM", "W8A8", "INT8", "W4AFP8", "FP8", "FP8_DYNAMIC", "FP8_BLOCK"),
    *(
        "NVFP4A16",
        "NVFP4",
        "MXFP4A16",
        "MXFP4",
        "MXFP4XFP8",
        "MXFP6A16",
        "MXFP6A8",
        "MXFP8A16",
        "MXFP8",
    ),
    *("W2A4", "W2A8", "W2A16", "W3A4", "W3A8", "W3A16", "W4A4", "W4A8", "W4A16"),
    *("W5A8", "W5A16", "W6A8", "W6A16", "W7A8", "W7A16", "W8A16"),
)


def case(name, weights, refused="", **settings):
    return Case(name, partial(compressed, m=Scheme(weights, **settings)), refused)


CASES = [
    *(
        case(
            f"pack-quantized {bits} bit, {strategy}, {'symmetric' if symmetric else 'zero points'}",
            {"num_bits": bits, "symmetric": symmetric, **STRATEGIES[strategy]},
            form="pack-quantized",
        )
        for bits in range(1, 9)
        for strategy in ("tensor", "channel", "group")
        for symmetric in (True, False)
    ),
    *(
        case(
            f"{form} int{bits}, {strategy}, {'symmetric' if symmetric else 'zero points'}",
            {"num_bits": bits, "symmetric": symmetric, **STRATEGIES[strategy]},
            form=form,
        )
        for form, bits in (("int-quantized", 8), ("int-quantized", 4), ("naive-quantized", 8))
        for strategy in ("tensor", "channel", "group", "block")
        for symmetric in (True, False)
    ),
    *(
        case(f"{form} fp8, {strategy}", FP8 | STRATEGIES[strategy], form=form)
        for form in ("float-quantized", "naive-quantized")
        for strategy in ("tensor", "channel", "group", "block")
    ),
    *(
        case(f"{form} {bits} bit, {strategy}, scales in {dtype}", weights, form=form, dtype=dtype)
        for dtype in ("float16", "bfloat16")
        for form, bits, strategy, weights in (
            ("pack-quantized", 4, "group", {"num_bits": 4, "symmetric": False, **GROUP}),
            ("pack-quantized", 3, "channel", {"num_bits": 3, "strategy": "channel"}),
            ("int-quantized", 8, "channel", {"num_bits": 8, "strategy": "channel"}),
            ("float-quantized", 8, "channel", FP8 | {"strategy": "channel"}),
        )
    ),
    *(
        case(
            f"pack-quantized {bits} bit, {cols} columns",
            {"num_bits": bits, "strategy": "channel", "symmetric": False},
            form="pack-quantized",
            rows=rows,
            cols=cols,
        )
        for bits, rows, cols in ((3, 31, 41), (4, 30, 77), (5, 7, 96), (6, 33, 50), (8, 5, 33))
    ),
    case("act-order of the weight", {"num_bits": 4, "actorder": "weight", **GROUP}),
    case("tokens in fp8", FP8 | {"strategy": "channel"}, inputs=FP8 | TOKEN),
    case("tokens in int8", {"num_bits": 8, "strategy": "channel"}, inputs=TOKEN),
    case("fp8 with zero points", FP8 | {"symmetric": False, **GROUP}, form="float-quantized"),
    case(
        "fp8, activations too", FP8 | {"strategy": "channel"}, inputs=FP8 | {"strategy": "tensor"}
    ),
    *(
        case(f"{form}, scales in {dtype}", weights, refused, form=form, dtype=dtype)
        for dtype in ("float32", "bfloat16")
        for form, weights, refused in (
            (
                "nvfp4-pack-quantized",
                {"type": "float", "num_bits": 4, "strategy": "tensor_group", "group_size": 16},
                "",
            ),
            ("mxfp4-pack-quantized", MX | {"num_bits": 4, "scale_dtype": "torch.uint8"}, ""),
            ("mxfp6-pack-quantized", MX | {"num_bits": 6, "scale_dtype": "torch.uint8"}, ""),
            ("mxfp8-quantized", MX | {"num_bits": 8, "scale_dtype": "torch.uint8"}, ""),
        )
    ),
    *(case(f"preset {name}", name, cols=256) for name in PRESETS),
    Case(
        "mixed precision",
        partial(
            compressed,
            a=Scheme({"num_bits": 4, **GROUP}),
            b=Scheme(FP8 | {"strategy": "channel"}, form="float-quantized"),
            c=Scheme("NVFP4"),
            d=Scheme({"num_bits": 8, "symmetric": False, **GROUP}, form="pack-quantized", cols=96),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compressed_tensors(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)


def test_every_preset_scheme_is_in_the_table():
    schemes = pytest.importorskip("compressed_tensors.quantization.quant_scheme").PRESET_SCHEMES
    assert {f"preset {name}" for name in schemes} <= {case.name for case in CASES}
