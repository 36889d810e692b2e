"""MLX's modes, gpt-oss's MXFP4 and 8-bit floats, against MLX's and torch's own dequantization."""

import json

import mlx.core as mx
import numpy as np
import pytest
import torch
from weightfiles import model_files, whole, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import PackingError

ROWS, COLS = 48, 1536
NAME = "model.layers.0.mlp.up_proj"
# mx.quantize's modes, with every group size and width that it offers.
AFFINE = [(bits, group) for bits in (1, 2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]


def stored(array):
    """An MLX array as words, with the name of its type."""
    kinds = {mx.uint32: ("<u4", "U32"), mx.uint8: ("u1", "U8"), mx.float32: ("<f4", "F32")}
    kinds |= {mx.float16: ("<f2", "F16"), mx.bfloat16: ("<u2", "BF16")}
    kind, dtype = kinds[array.dtype]
    words = array.view(mx.uint16) if array.dtype == mx.bfloat16 else array
    return np.array(words).view(kind), dtype


def checkpoint_of(path, arrays, **config):
    config_path = path / "config.json"
    config_path.write_text(json.dumps(config))
    file = write_safetensors(path / "model.safetensors", arrays)
    return open_checkpoint(model_files(file, config=config_path))


def quantized(matrix, name=NAME, global_scale=None, **settings):
    """The stored tensors that MLX makes of a matrix, and what it makes of them again."""
    with mx.stream(mx.cpu):
        pieces = mx.quantize(matrix, **settings, global_scale=global_scale)
        back = mx.dequantize(*pieces, **settings, global_scale=global_scale, dtype=mx.float32)
        names = ("weight", "scales", "biases")
        arrays = {f"{name}.{n}": stored(p) for n, p in zip(names, pieces, strict=False)}
        if global_scale is not None:
            arrays[f"{name}.global_scale"] = stored(global_scale)
        return arrays, np.array(back)


@pytest.fixture(scope="module")
def matrix():
    return np.random.default_rng(3).standard_normal((ROWS, COLS)).astype(np.float32)


@pytest.mark.parametrize(("bits", "group"), AFFINE)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
def test_affine(tmp_path, matrix, bits, group, dtype):
    settings = {"bits": bits, "group_size": group}
    arrays, _ = quantized(mx.array(matrix).astype(dtype), **settings)
    checkpoint = checkpoint_of(tmp_path, arrays, quantization=settings)
    (weight,) = checkpoint.weights()
    assert weight.problem is None
    assert (weight.name, weight.shape) == (f"{NAME}.weight", (ROWS, COLS))
    assert (weight.dtype, weight.parameter.packing) == ("U32", "mlx")
    assert weight.parameter.detail == f"affine, {bits} bit, group {group}"
    assert [piece.name.rpartition(".")[2] for piece in weight.parameter.pieces] == [
        "weight",
        "scales",
        "biases",
    ]
    with mx.stream(mx.cpu):
        pieces = mx.quantize(mx.array(matrix).astype(dtype), **settings)
        reference = np.array(mx.dequantize(*pieces, **settings).astype(mx.float32))
        scales, biases = (np.array(part.astype(mx.float32)) for part in pieces[1:])
    scales, biases = (np.repeat(part, group, axis=1) for part in (scales, biases))
    values = whole(weight)
    # MLX rounds both terms and their sum to the type of the scales, we keep float32.
    unit = {mx.float32: 2**-23, mx.float16: 2**-10, mx.bfloat16: 2**-7}[dtype]
    largest = np.maximum(np.abs(scales) * (2**bits - 1), np.abs(biases))
    assert (np.abs(values - reference) <= unit * largest).all()
    codes = np.rint((values - biases) / scales)
    assert codes.min() >= 0
    assert codes.max() <= 2**bits - 1
    np.testing.assert_array_equal(values, (codes.astype(np.float32) * scales) + biases)


@pytest.mark.parametrize(
    ("mode", "group", "bits", "scaled"),
    [("mxfp4", 32, 4, 0), ("mxfp8", 32, 8, 0), ("nvfp4", 16, 4, 0), ("nvfp4", 16, 4, 1)],
)
def test_float_modes_are_exact(tmp_path, matrix, mode, group, bits, scaled):
    scale = mx.array(np.abs(matrix).max()) if scaled else None
    arrays, expected = quantized(mx.array(matrix), mode=mode, global_scale=scale)
    settings = {"mode": mode, "group_size": group, "bits": bits}
    (weight,) = checkpoint_of(tmp_path, arrays, quantization=settings).weights()
    assert weight.problem is None
    assert weight.parameter.detail == f"{mode}, {bits} bit, group {group}"
    if scaled:
        # Where the tensor's scale is multiplied in is not the same in both.
        np.testing.assert_allclose(whole(weight), expected, rtol=2**-22)
    else:
        np.testing.assert_array_equal(whole(weight), expected)


def test_a_module_s_own_settings_win(tmp_path, matrix):
    own = {"bits": 8, "group_size": 32}
    arrays, expected = quantized(mx.array(matrix), **own)
    config = {"group_size": 64, "bits": 4, NAME: own}
    (weight,) = checkpoint_of(tmp_path, arrays, quantization=config).weights()
    np.testing.assert_allclose(whole(weight), expected, rtol=0, atol=1e-6)
    assert weight.parameter.detail == "affine, 8 bit, group 32"


def test_stacked_experts_are_cut_before_they_are_unpacked(tmp_path):
    stack = np.random.default_rng(0).standard_normal((5, 64, 128)).astype(np.float32)
    name = "model.layers.3.mlp.switch_mlp.gate_proj"
    arrays, expected = quantized(mx.array(stack), name, bits=4, group_size=64)
    config = {"group_size": 64, "bits": 4}
    weights = checkpoint_of(tmp_path, arrays, quantization=config).weights()
    assert [w.expert_index for w in weights] == list(range(5))
    assert {(w.role.block_type, w.role.component, w.role.layer_index) for w in weights} == {
        ("gate_proj", "moe", 3)
    }
    for weight, values in zip(weights, expected, strict=True):
        np.testing.assert_allclose(whole(weight), values, rtol=0, atol=1e-6)
    assert sum(w.nbytes for w in weights) == sum(words.nbytes for words, _ in arrays.values())


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(1100, 96), (96, 2304), (3000, 1024)])
def test_slabs_of_any_side(tmp_path, shape):
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    settings = {"bits": 3, "group_size": 32}
    arrays, expected = quantized(mx.array(matrix), **settings)
    (weight,) = checkpoint_of(tmp_path, arrays, quantization=settings).weights()
    assert len(list(weight.chunks())) > 1
    np.testing.assert_allclose(whole(weight), expected, rtol=0, atol=1e-6)


BLOCKS = "model.layers.0.mlp.experts.gate_up_proj"


def mxfp4_experts(rng, experts=3, rows=16, groups=4):
    blocks = rng.integers(0, 256, (experts, rows, groups, 16), np.uint8)
    scales = rng.integers(120, 134, (experts, rows, groups), np.uint8)
    return {f"{BLOCKS}_blocks": (blocks, "U8"), f"{BLOCKS}_scales": (scales, "U8")}


def test_mxfp4_of_gpt_oss_is_what_mlx_makes_of_the_same_bytes(tmp_path, rng):
    arrays = mxfp4_experts(rng)
    weights = checkpoint_of(tmp_path, arrays).weights()
    blocks, scales = (words for words, _ in arrays.values())
    with mx.stream(mx.cpu):
        packed = mx.array(blocks.reshape(3, 16, -1).view(np.uint32))
        expected = mx.dequantize(packed, mx.array(scales), mode="mxfp4", dtype=mx.float32)
    assert [weight.shape for weight in weights] == [(16, 128)] * 3
    assert {weight.name for weight in weights} == {BLOCKS}
    for weight, values in zip(weights, np.array(expected), strict=True):
        np.testing.assert_array_equal(whole(weight), values)
        assert 8 * weight.nbytes / weight.numel == 4.25


def fp8(matrix, block, dtype=torch.float8_e4m3fn):
    """DeepSeek's recipe: the largest magnitude of a block becomes the largest 8-bit float."""
    rows, cols = matrix.shape
    height, width = block
    scales = np.zeros((-(-rows // height), -(-cols // width)), np.float32)
    codes = torch.zeros(rows, cols).to(dtype)
    back = np.zeros_like(matrix)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            part = np.s_[i * height : (i + 1) * height, j * width : (j + 1) * width]
            scales[i, j] = np.abs(matrix[part]).max() / torch.finfo(dtype).max
            codes[part] = torch.from_numpy(matrix[part] / scales[i, j]).to(dtype)
            back[part] = (codes[part].float() * scales[i, j].item()).numpy()
    return codes.view(torch.uint8).numpy(), scales, back


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize(
    ("block", "suffix", "shape"),
    [
        ((128, 128), "weight_scale_inv", None),
        ((64, 32), "weight_scale_inv", None),
        ((1, 1100), "weight_scale", (300, 1)),
        ((1, 1100), "weight_scale", (300,)),
        ((300, 1100), "weight_scale", ()),
        ((300, 1100), "scale", (1,)),
    ],
)
def test_fp8_scales_of_every_granularity(tmp_path, rng, dtype, block, suffix, shape):
    matrix = rng.standard_normal((300, 1100)).astype(np.float32)
    codes, scales, expected = fp8(matrix, block, dtype)
    name = {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}[dtype]
    arrays = {
        f"{NAME}.weight": (codes, name),
        f"{NAME}.{suffix}": (scales if shape is None else scales.reshape(shape), "F32"),
        f"{NAME}.input_scale": (np.ones((), np.float32), "F32"),
    }
    config = {"quant_method": "fp8"} | ({"weight_block_size": list(block)} if shape is None else {})
    (weight,) = checkpoint_of(tmp_path, arrays, quantization_config=config).weights()
    assert weight.problem is None
    np.testing.assert_array_equal(whole(weight), expected)
    assert len(weight.parameter.pieces) == 2
    assert [extra.name for extra in weight.parameter.extra] == [f"{NAME}.input_scale"]


def words(shape, kind="<u4"):
    return np.zeros(shape, kind), {"<u4": "U32", "<f2": "F16", "u1": "U8", "<f4": "F32"}[kind]


GOOD = {"bits": 4, "group_size": 64}
MLX = {"weight": words((8, 16)), "scales": words((8, 2), "<f2"), "biases": words((8, 2), "<f2")}
FP8 = {"weight": (np.zeros((256, 256), np.uint8), "F8_E4M3")}
HOSTILE = {
    "group size that does not divide": (MLX, GOOD | {"group_size": 48}, "not whole groups of 48"),
    "group size zero": (MLX, GOOD | {"group_size": 0}, "groups of 0"),
    "nine bits": (MLX, GOOD | {"bits": 9}, "9 bits"),
    "no settings": (MLX, {}, "config.json with the group size and bits is missing"),
    "unknown mode": (MLX, GOOD | {"mode": "int3"}, "'int3' is not known"),
    "scales too short": (MLX | {"scales": words((8, 1), "<f2")}, GOOD, r"shape \[8, 1\]"),
    "biases of another shape": (MLX | {"biases": words((2, 8), "<f2")}, GOOD, "biases has"),
    "no biases": ({k: MLX[k] for k in ("weight", "scales")}, GOOD, "no biases"),
    "a packed vector": (MLX | {"weight": words((16,))}, GOOD, "have rows"),
    "fp8 scale misshapen": (FP8 | {"weight_scale": words((3, 2), "<f4")}, {}, r"of \[2, 2\]"),
    "fp8 scale of integers": (FP8 | {"weight_scale_inv": words((2, 2))}, {}, "no type for scales"),
    "fp8 block of nonsense": (
        FP8 | {"weight_scale_inv": words((2, 2), "<f4")},
        {"weight_block_size": [0, 128]},
        "weight_block_size cannot be",
    ),
    "fp8 without its scale": (FP8, {"quant_method": "fp8"}, "without its scale"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_pieces_that_do_not_fit_cost_one_row(tmp_path, case):
    pieces, settings, reason = HOSTILE[case]
    arrays = {f"{NAME}.{key}": value for key, value in pieces.items()}
    (weight,) = checkpoint_of(tmp_path, arrays, quantization=settings).weights()
    with pytest.raises(PackingError, match=reason):
        raise PackingError(weight.problem)
    assert list(weight.chunks()) == []


@pytest.mark.parametrize("name", ["scales", "biases", "weight_scale_inv"])
def test_a_lost_piece_is_no_weight(tmp_path, name):
    (weight,) = checkpoint_of(tmp_path, {f"{NAME}.{name}": words((8, 2), "<f2")}).weights()
    assert weight.problem == "belongs to a packed weight that is not there or not understood"


def test_integers_in_place_of_weights_are_not_read_as_weights(tmp_path):
    arrays = {f"{NAME}.weight": words((8, 16)), "position_ids": (np.arange(64)[None], "I64")}
    config = {"quant_method": "aqlm"}
    weights = checkpoint_of(tmp_path, arrays, quantization_config=config).weights()
    assert [weight.problem for weight in weights] == [
        "U32 integers in place of weights: packed in a way (aqlm) not understood",
        None,
    ]
