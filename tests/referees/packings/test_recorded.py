"""Files of packages that do not install beside today's torch, as they once wrote and read them.

How they were made stands in `packers` (AutoGPTQ 0.7.1, GPTQModel 7.7.0, AutoAWQ 0.2.9, and others)
and in `make_old_packings` (AutoGPTQ 0.7.1, compressed-tensors 0.9.4).
"""

from functools import partial

import make_old_packings
import numpy as np
import packers
import pytest

from referees.packings.cases import HALF_UNIT, Case, Made, judge

OLD = packers.golden(make_old_packings.FIXTURE)
# The type that compressed-tensors rounds its values to is that of the scales; from 8-bit scales
# it makes bfloat16. Of powers of two nothing is lost, and others were asked for float32.
ROUNDED = {"F32": 0.0, "U8": 0.0, "F8_E4M3": HALF_UNIT["BF16"]} | HALF_UNIT
# Whole codes in a word: config.json's bits do not fill the words that are there.
PADDED = "do not show the bits"
REFUSED = {
    **{f"compressed_tensors {bits} bit, channel": PADDED for bits in (3, 5, 6, 7)},
    "compressed_tensors 3 bit, group, act-order": PADDED,
    "compressed_tensors marlin-24": "its effect on the values is not known",
}


def recorded(name, contents):
    tensors, config, values = contents
    unit = ROUNDED[tensors["m.weight_scale"][1]] if "m.weight_scale" in tensors else 0.0
    slack = 2 * unit * np.abs(values)
    return Made(tensors, {"m.weight": values}, {"quantization_config": config}, slack)


CASES = [
    *(Case(name, partial(recorded, name, case)) for name, case in packers.golden().items()),
    *(
        Case(f"old: {name}", partial(recorded, name, case), REFUSED.get(name, ""))
        for name, case in OLD.items()
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_recorded(case, tmp_path, record_property):
    judge(case, tmp_path, record_property)
