"""The packages of `packing_makers` themselves, with other numbers than those of the fixtures."""

from functools import cache, partial
from importlib import import_module

import make_packings
import pytest

from referees.packings.cases import Case, Made, judge

# Their products are in another order than ours.
UNIT = 2**-22
# What compressed-tensors rounds to bfloat16.
ROUNDED = {"compressed: compressed_tensors nvfp4-pack-quantized": 2**-7}


@cache
def maker(name):
    pytest.importorskip(import_module(f"packing_makers.{name}").PACKAGE)
    return make_packings.made(name, seed=17)


def made(name):
    owner, _, case = name.partition(": ")
    tensors, config, values = maker(owner)[case]
    size = abs(values)
    # Rotated values are sums of many products.
    slack = 1e-6 * size.max() if "rotated" in case else ROUNDED.get(name, UNIT) * size
    # As in `hf_packings.opened`: what is not quantization_config is beside it.
    quantization = {key: value for key, value in config.items() if not key.startswith("__")}
    whole = config.get("__config__", {}) | {"quantization_config": quantization}
    (module,) = {name.split(".")[0] for name in tensors}
    weight = "m.weight" if module == "m" else "self_attn.q_proj.weight"
    return Made(tensors, {weight: values}, whole, slack, config.get("__metadata__", {}))


# Their package is a version of the past; `test_recorded` has such files.
PAST = ("bitmask",)
CASES = [
    Case(name, partial(made, name))
    for name in make_packings.fixtures()
    if name.partition(": ")[0] not in PAST
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_makers(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
