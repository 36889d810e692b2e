"""Packed weights against the packages that made them: fixtures, and live where they import."""

from importlib import import_module

import make_packings
import numpy as np
import pytest
from hf_packings import opened
from weightfiles import whole

CASES = make_packings.fixtures()
# What compressed-tensors rounds to bfloat16, and products in another order.
UNITS = {"compressed: compressed_tensors nvfp4-pack-quantized": 2**-7}
UNIT = 2**-22


def agrees(folder, name, tensors, config, values):
    weights = opened(folder, tensors, config)
    assert {weight.problem for weight in weights} == {None}
    parameter = weights[0].parameter
    assert (parameter.packing, parameter.shape) == (name.split(": ")[-1].split()[0], values.shape)
    stored = {piece.name for piece in (*parameter.pieces, *parameter.extra)}
    assert stored == set(tensors)
    # Values that are rotated are sums of many products, in another order here.
    slack = 1e-6 * np.abs(values).max() if "rotated" in name else 0
    read = np.reshape([whole(weight) for weight in weights], values.shape)
    np.testing.assert_allclose(read, values, rtol=UNITS.get(name, UNIT), atol=slack)


@pytest.mark.parametrize("name", CASES)
def test_the_fixtures_of_the_original_packages(tmp_path, name):
    agrees(tmp_path, name, *CASES[name])


# Their warnings are not ours.
@pytest.mark.filterwarnings("ignore", "error:::mlx_probe")
@pytest.mark.parametrize("maker", make_packings.MAKERS)
def test_the_original_packages_themselves(tmp_path, maker):
    """Other numbers than the fixtures'."""
    pytest.importorskip(import_module(f"packing_makers.{maker}").PACKAGE)
    for name, content in make_packings.made(maker, seed=5).items():
        agrees(tmp_path, f"{maker}: {name}", *content)
