"""GGUF's types against llama.cpp itself, against the gguf package, and by their formulas."""

import re
from functools import partial
from struct import calcsize

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

from referees.packings import llama_cpp
from referees.packings.cases import HALF_UNIT, Case, Made, judge
from referees.packings.ggml_formulas import FORMULAS

ROWS, COLS = 6, 1024
NAME = "blk.0.ffn_up.weight"
STACK = "blk.0.ffn_up_exps.weight"
NUMBERS = {kind.name: kind.value for kind in GGMLQuantizationType} | {"Q2_0": 42}
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
INTEGERS = ("I8", "I16", "I32", "I64")
# What the gguf package itself quantizes, and all that it dequantizes.
WRITTEN = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4")
READ = (
    *WRITTEN,
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "NVFP4"),
)
NO_DECODER = "not supported: the installed gguf package cannot decode it"
# Types that llama.cpp reads and the gguf package (0.19) does not.
UNREAD = {"Q1_0": NO_DECODER, "Q2_0": "ggml type 42 is not known to the installed gguf package"}


def matrix(rows=ROWS):
    return np.random.default_rng(5).standard_normal((rows, COLS)).astype(np.float32)


def random_blocks(kind, rows=ROWS):
    elements, nbytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    shape = (rows, COLS // elements * nbytes)
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def made(kind, stored, values, stack=0, slack=0.0):
    if stack:
        stored, values = (part.reshape(stack, -1, part.shape[-1]) for part in (stored, values))
    name = STACK if stack else NAME
    return Made({name: (stored, kind)}, {name: values}, slack=slack, gguf=True)


def by_gguf(kind):
    number = GGMLQuantizationType[kind]
    stored = quantize(matrix(), number) if kind in WRITTEN else random_blocks(kind)
    with np.errstate(all="ignore"):
        return made(kind, stored, dequantize(stored, number))


def by_formula(kind):
    stored = quantize(matrix(), GGMLQuantizationType[kind]) if kind in WRITTEN else moderate(kind)
    values, sizes = FORMULAS[kind].values(stored)
    # Scale, code and minimum are multiplied and subtracted in float32.
    return made(kind, stored, values.astype(np.float32), slack=4 * HALF_UNIT["F32"] * sizes)


def moderate(kind):
    """Random blocks with finite scales: infinities have no formula."""
    parts = FORMULAS[kind].parts
    sizes = {name: "<f2" if code == "e" else f"V{calcsize(code)}" for name, code in parts.items()}
    stored = random_blocks(kind)
    blocks = stored.view(np.dtype(list(sizes.items())))
    for name, code in sizes.items():
        if code == "<f2":
            blocks[name] = np.random.default_rng(6).uniform(-1, 1, blocks.shape)
    return stored


def by_llama_cpp(kind, stack=0, importance=None):
    # The search tables of these take seconds for each row.
    rows = 1 if kind in ("IQ1_S", "IQ2_S", "IQ2_XS") else ROWS * max(stack, 1)
    weights = None if importance is None else importance(COLS).astype(np.float32)
    stored, values = llama_cpp.quantized(NUMBERS[kind], matrix(rows), weights)
    # Compiled, a product and a sum may be one operation.
    slack = 2 * HALF_UNIT["F32"] * np.abs(values).max()
    return made(kind if kind != "Q2_0" else 42, stored, values, stack, slack)


def random_by_llama_cpp(kind):
    stored = moderate(kind)
    values = llama_cpp.dequantized(NUMBERS[kind], stored)
    return made(kind, stored, values, slack=2 * HALF_UNIT["F32"] * np.abs(values).max())


def plain(kind):
    stored = matrix().astype(FLOATS.get(kind, kind.lower().replace("i", "int")))
    return made(kind, stored, stored)


def bfloat16():
    stored = (matrix().view(np.uint32) >> 16).astype("<u2")
    return made("BF16", stored, (stored.astype(np.uint32) << 16).view(np.float32))


def undecoded(kind):
    return made(kind, random_blocks(kind), matrix())


CASES = [
    *(Case(f"gguf: {kind}", partial(by_gguf, kind)) for kind in READ),
    *(Case(f"formula: {kind}", partial(by_formula, kind)) for kind in FORMULAS),
    *(Case(f"plain {kind}", partial(plain, kind)) for kind in FLOATS),
    Case("plain BF16", bfloat16),
    *(
        Case(f"{kind} in place of weights", partial(plain, kind), "integers in place of weights")
        for kind in INTEGERS
    ),
    Case("Q8_K, only for products", partial(undecoded, "Q8_K"), NO_DECODER),
    *(Case(f"llama.cpp: {kind}", partial(by_llama_cpp, kind)) for kind in READ),
    *(Case(f"llama.cpp: {kind}", partial(by_llama_cpp, kind), UNREAD[kind]) for kind in UNREAD),
    *(
        Case(f"llama.cpp: {kind} by importance", partial(by_llama_cpp, kind, importance=np.arange))
        for kind in ("Q4_K", "Q6_K", "IQ2_XS", "IQ4_XS", "IQ3_S")
    ),
    *(
        Case(f"llama.cpp: a stack of {kind}", partial(by_llama_cpp, kind, stack=3))
        for kind in ("Q4_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K", "IQ4_NL", "MXFP4")
    ),
    *(
        Case(f"llama.cpp: random blocks of {kind}", partial(random_by_llama_cpp, kind))
        for kind in FORMULAS
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gguf(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)


def test_every_type_of_the_package_is_in_the_table():
    words = {word for case in CASES for word in re.findall(r"\w+", case.name)}
    # Intermediate results of products; no file has it.
    assert {kind.name for kind in GGMLQuantizationType} - words == {"Q8_1"}
