"""Packed weights that a device decodes have the bits that the packings give."""

import numpy as np
import pytest
from encoded_cases import CASES, GGML, encoded

from mlx_probe.compute.backends.mlx.backend import MlxBackend

SHAPES = [(1312, 256), (288, 2304), (1056, 1024)]


@pytest.fixture(scope="module")
def device():
    return MlxBackend("cpu")


def same_bits(actual, expected):
    """Equal to the last bit; NaNs are NaNs."""
    assert actual.dtype == expected.dtype == np.float32
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(
        np.where(nan, 0, actual).view(np.uint32), np.where(nan, 0, expected).view(np.uint32)
    )


def decoded_alike(device, weight):
    """All slabs of a weight, by the device and by the packing."""
    assert device.decodes(weight.encoding)
    slabs = zip(weight.encoded_chunks(), weight.chunks(), strict=True)
    shapes = []
    for block, expected in slabs:
        assert block.shape == expected.shape
        same_bits(np.array(device.load_encoded(block).values), expected)
        shapes.append(block.shape)
    return shapes


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_slabs_have_the_bits_of_the_packing(tmp_path, rng, device, case, shape, monkeypatch):
    weight = encoded(tmp_path, rng, case, *shape)
    # A block that is left to the packing is loaded.
    monkeypatch.setattr(device, "load", None)
    assert len(decoded_alike(device, weight)) == -(-max(shape) // 1024)
