"""Any rows and slabs of wide matrices of torchao, quanto and ComfyUI, by the published formulas."""

import json

import numpy as np
import pytest
from hf_packings import only
from weightfiles import whole

from mlx_probe.core.dtypes import E2M1
from mlx_probe.core.dtypes import decode as decoded

# Columns that are no whole slabs of 1024, nor slabs whole groups of 96.
COLS = 2400


def quanto(rng, rows, bits):
    codes, per_byte = rng.integers(0, 1 << bits, (rows, COLS)), 8 // bits
    scales, shifts = rng.uniform(0.5, 1, (2, rows, COLS // 96)).astype("f4")
    grouped = codes.reshape(-1, 96)
    lines = -(-len(grouped) // per_byte)
    padded = np.pad(grouped, ((0, lines * per_byte - len(grouped)), (0, 0)))
    packed = sum(part << bits * place for place, part in enumerate(np.split(padded, per_byte)))
    tensors = {
        "q_proj.weight._data._data": (packed.astype("u1"), "U8"),
        "q_proj.weight._scale": (scales.reshape(-1, 1), "F32"),
        "q_proj.weight._shift": (shifts.reshape(-1, 1), "F32"),
    }
    scale, shift = (np.repeat(part, 96, axis=1) for part in (scales, shifts))
    config = {"quant_method": "quanto", "__config__": {"hidden_size": COLS}}
    return tensors, config, codes.astype("f4") * scale - shift


def torchao(rng, rows):
    codes = rng.integers(-128, 128, (rows, COLS)).astype("i1")
    scale = rng.uniform(0.5, 1, (rows // 2, COLS // 48)).astype("f4")
    zero = rng.integers(-9, 9, scale.shape).astype("i1")
    tensors = {
        "m._weight_qdata": (codes, "I8"),
        "m._weight_scale": (scale, "F32"),
        "m._weight_zero_point": (zero, "I8"),
    }
    described = {"_type": "Int8Tensor", "_data": {"block_size": [2, 48]}}
    config = {"quant_method": "torchao", "__metadata__": {"m.weight": json.dumps(described)}}
    zeros, scales = (np.kron(part, np.ones((2, 48), "f4")) for part in (zero, scale))
    return tensors, config, (codes - zeros).astype("f4") * scales.astype("f4")


def tiled(matrix):
    """Scales in tiles of 128 x 4: the steps of NVIDIA's documentation, one after the other."""
    rows, cols = matrix.shape
    down, across = -(-rows // 128), -(-cols // 4)
    padded = np.zeros((down * 128, across * 4), "u1")
    padded[:rows, :cols] = matrix
    tiles = padded.reshape(down, 128, across, 4).transpose(0, 2, 1, 3)
    tiles = tiles.reshape(-1, 4, 32, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(padded.shape)


def nvfp4(rng, rows):
    # No zeros, which could be padding.
    codes = rng.choice([*range(1, 8), *range(9, 16)], (rows, COLS))
    scales = rng.integers(40, 70, (rows, COLS // 16)).astype("u1")
    tensors = {
        "m.weight": ((codes[:, ::2] << 4 | codes[:, 1::2]).astype("u1"), "U8"),
        "m.weight_scale": (tiled(scales), "F8_E4M3"),
        "m.weight_scale_2": (np.array(0.5, "f4"), "F32"),
        "m.comfy_quant": (np.frombuffer(b'{"format": "nvfp4"}', "u1"), "U8"),
    }
    factors = np.repeat(decoded(scales, "F8_E4M3") * np.float32(0.5), 16, axis=1)
    return tensors, {}, E2M1[codes] * factors


CASES = {
    "quanto 4": lambda rng, rows: quanto(rng, rows, 4),
    "quanto 2": lambda rng, rows: quanto(rng, rows, 2),
    "torchao": torchao,
    "comfy nvfp4": nvfp4,
}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("rows", [6, 146])
@pytest.mark.parametrize("case", CASES)
def test_slabs_add_up_to_the_matrix(tmp_path, rng, case, rows):
    tensors, config, values = CASES[case](rng, rows)
    weight = only(tmp_path, tensors, config)
    assert weight.parameter.packing == case.split()[0]
    np.testing.assert_array_equal(whole(weight), values)


@pytest.mark.parametrize("case", CASES)
def test_any_rows_and_slabs_decode_alike(tmp_path, rng, case):
    tensors, config, values = CASES[case](rng, 146)
    weight = only(tmp_path, tensors, config)
    decode, pieces = weight.parameter.decode, weight._open()[0]
    for rows in (np.array([145, 3, 3, 77]), slice(60, 100), slice(144, 146)):
        for cols in (slice(0, 1024), slice(1024, 2048), slice(2048, COLS), slice(0, COLS)):
            np.testing.assert_array_equal(decode(pieces, rows, cols), values[rows, cols])
