"""What ComfyUI, torchao and quanto store in ways that are not understood is refused by name."""

import json

import make_packings
import numpy as np
import packers
import pytest
from hf_packings import opened
from weightfiles import whole

from mlx_probe.core.errors import PackingError

CASES = {
    maker: packers.golden(make_packings.FOLDER / f"{maker}.npz")
    for maker in ("comfy", "torchao", "quanto")
}
ONES = np.ones((16, 1), np.float32), "F32"


def case(name):
    """A copy of a case that may be changed: tensors and settings."""
    tensors, config, _ = CASES[name.split()[0]][name]
    return dict(tensors), json.loads(json.dumps(config))


def problem(path, tensors, config):
    (first, *_) = opened(path, tensors, config)
    return first.problem or ""


def noted(**note):
    return np.frombuffer(json.dumps(note).encode(), np.uint8), "U8"


ODD = noted(format="int8_tensorwise", convrot=True, convrot_groupsize=96)


@pytest.mark.parametrize(
    ("name", "changes", "fact"),
    [
        ("float8_e4m3fn", {"comfy_quant": noted(format="asym_w4a8_int8")}, "asym_w4a8_int8"),
        ("float8_e4m3fn", {"comfy_quant": noted(format=["x"])}, "is not known"),
        ("float8_e4m3fn", {"comfy_quant": noted(form="x")}, "None"),
        ("float8_e4m3fn", {"comfy_quant": (np.zeros(4, "u1"), "U8")}, "is no JSON"),
        ("float8_e4m3fn", {"comfy_quant": noted(format="float8_e5m2")}, "F8_E4M3 instead of"),
        ("float8_e4m3fn", {"weight_scale": None}, "its scale is missing"),
        # One scale for each column is no layout of ComfyUI.
        ("float8_e4m3fn", {"weight_scale": (np.ones(16, "f4"), "F32")}, "the shape [16]"),
        ("float8_e4m3fn", {"weight_scale_2": ONES}, "with these scales is not known"),
        ("float8_e4m3fn fp8_scaled", {"scale_weight": (np.ones(2, "f4"), "F32")}, "the shape [2]"),
        ("float8_e4m3fn fp8_scaled", {"pre_quant_scale": ONES}, "lies beside it"),
        ("int8_tensorwise rotated 64", {"comfy_quant": ODD}, "groups of 96"),
        ("nvfp4", {"weight_scale_2": None}, "nvfp4 with 1 scales"),
        ("nvfp4", {"weight_scale": (np.ones((144, 6), "u1"), "U8")}, "weight_scale has the shape"),
        ("mxfp8", {"weight_scale_2": ONES}, "mxfp8 with 2 scales"),
    ],
)
def test_comfy(tmp_path, name, changes, fact):
    tensors, config = case(f"comfy {name}")
    tensors |= {f"m.{end}": piece for end, piece in changes.items() if piece is not None}
    for end in (end for end, piece in changes.items() if piece is None):
        del tensors[f"m.{end}"]
    assert fact in problem(tmp_path, tensors, config)


def test_comfy_rows_of_padding_are_known_from_the_bias(tmp_path):
    """Rows are padded with zeros to whole groups; without a bias they cannot be told apart."""
    tensors, config = case("comfy nvfp4")
    codes, dtype = tensors["m.weight"]
    codes = codes.copy()
    codes[-3:] = 0
    tensors["m.weight"] = codes, dtype
    (padded,) = opened(tmp_path, tensors, config)
    with pytest.raises(PackingError, match="may be padding"):
        whole(padded)
    bias = {"m.bias": (np.ones(len(codes) - 3, "f4"), "F32")}
    weight = next(w for w in opened(tmp_path, tensors | bias, config) if w.name == "m.weight")
    values = CASES["comfy"]["comfy nvfp4"][2]
    np.testing.assert_array_equal(whole(weight), values[:-3])


def described(kind="Int8Tensor", **data):
    data = {"block_size": [1, 64]} | data
    return {"m.weight": json.dumps({"_type": kind, "_data": data})}


@pytest.mark.parametrize(
    ("metadata", "fact"),
    [
        ({}, "do not say how torchao stored it"),
        ({"m.weight": "{"}, "do not say"),
        ({"m.weight": '{"_type": "Int8Tensor", "_data": 3}'}, "do not say"),
        (described("Int4TilePackedTo4dTensor"), "is laid out for one kind of device"),
        (described("Int4PlainInt32Tensor"), "is laid out for one kind of device"),
        (described("AffineQuantizedTensor"), "AffineQuantizedTensor is not supported"),
        (described("Float8Tensor"), "zero points of 8-bit floats"),
        (described(block_size=[1, 48]), "blocks of [1, 48]"),
        (described(block_size=[64]), "blocks of [64]"),
        (described(block_size=None), "blocks of None"),
        (described(block_size=[2, 64]), "_weight_scale has the shape"),
        (
            {"m.weight": json.dumps({"_type": "X", "_data": {}, "_tensor_data_names": ["qdata"]})},
            "the metadata and the file differ in ['scale', 'zero_point']",
        ),
    ],
)
def test_torchao(tmp_path, metadata, fact):
    tensors, config = case("torchao int8 rows")
    assert fact in problem(tmp_path, tensors, config | {"__metadata__": metadata})


def test_torchao_scales_of_inputs(tmp_path):
    """They belong to the weight's product, and are not part of its values."""
    tensors, config = case("torchao int8 rows")
    tensors["m._weight_act_pre_scale"] = np.ones(64, "f4"), "F32"
    config["__metadata__"] = described()
    assert "act_pre_scale" in problem(tmp_path, tensors, config)


def test_torchao_int4(tmp_path, rng):
    """By the formula of its kernels' quantizer: code times scale plus zero point (FBGEMM)."""
    codes, shape = rng.integers(-8, 8, (16, 1536)), (16, 1536)
    scales, zeros = rng.uniform(0.5, 1, (2, 16, 12)).astype("f4")
    packed = (codes[:, ::2] & 15 | (codes[:, 1::2] & 15) << 4).astype("u1").view("i1")
    tensors = {
        "m._weight_qdata": (packed, "I8"),
        "m._weight_scale": (np.ascontiguousarray(scales.T), "F32"),
        "m._weight_zero_point": (np.ascontiguousarray(zeros.T), "F32"),
    }
    metadata = described("Int4Tensor", block_size=[1, 128], shape=[*shape])
    config = {"quant_method": "torchao", "__metadata__": metadata}
    (weight,) = opened(tmp_path, tensors, config)
    assert (weight.problem, weight.parameter.detail) == (None, "int4, group 128")
    scale, zero = (np.repeat(part, 128, axis=1) for part in (scales, zeros))
    np.testing.assert_allclose(whole(weight), codes * scale + zero, rtol=1e-6, atol=1e-6)
    config["__metadata__"] = described("Int4Tensor", block_size=[1, 128], shape=[16, 768])
    assert "bytes for the shape" in problem(tmp_path, tensors, config)


@pytest.mark.parametrize(
    ("name", "settings", "fact"),
    [
        ("qint4 24x256", {"weights": "int2"}, "qint4, though config.json declares 'int2'"),
        ("qint8 24x100", {"weights": "float8"}, "qint8, though config.json declares"),
        ("qint4 24x256", {"__config__": {}}, "neither a bias nor config.json's hidden_size"),
        ("qint4 24x256", {"__config__": {"hidden_size": 96}}, "48 groups of 128 are not 64 rows"),
        ("qint4 24x256", {"quant_method": "hqq"}, "config.json declares the quantization 'hqq'"),
    ],
)
def test_quanto(tmp_path, name, settings, fact):
    tensors, config = case(f"quanto {name}")
    assert fact in problem(tmp_path, tensors, config | settings)


@pytest.mark.parametrize("name", ["qint4 24x256", "qint2 24x160"])
def test_a_bias_shows_the_rows_of_quanto(tmp_path, name):
    tensors, config = case(f"quanto {name}")
    tensors["self_attn.q_proj.bias"] = np.ones(24, "f4"), "F32"
    weights = opened(tmp_path, tensors, config | {"__config__": {}})
    weight = next(w for w in weights if w.name.endswith("weight"))
    values = CASES["quanto"][f"quanto {name}"][2]
    np.testing.assert_allclose(whole(weight), values, rtol=1e-6)


def test_quanto_of_odd_widths_needs_no_configuration(tmp_path):
    """No group has 100 or 132 columns: such rows are whole."""
    for cols in (100, 132):
        tensors, config = case(f"quanto qint4 24x{cols}")
        (weight,) = opened(tmp_path, tensors, config | {"__config__": {}})
        assert (weight.problem, weight.shape) == (None, (24, cols))
