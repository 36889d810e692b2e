"""Packed weights that a device decodes have the bits that the packings give."""

import make_packings
import mlx.core as mx
import numpy as np
import packers
import pytest
from encoded_cases import CASES, GGML, encoded, nf4
from hf_packings import opened

from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.compute.backends.mlx.backend import MlxBackend
from mlx_probe.compute.backends.mlx.decoding import DECODERS
from mlx_probe.compute.backends.mlx.decoding.ggml import TYPES
from mlx_probe.core.errors import PackingError

SHAPES = [(1312, 256), (288, 2304), (1056, 1024)]
QKV = "model.layers.0.self_attn.qkv_proj"
TINY = 2.0**-126


@pytest.fixture
def device(monkeypatch):
    """A backend that decodes every block itself: one that is left to the packing is loaded."""
    device = MlxBackend("cpu")
    monkeypatch.setattr(device, "load", None)
    return device


def same_bits(actual, expected):
    """Equal to the last bit; NaNs are NaNs."""
    assert actual.dtype == expected.dtype == np.float32
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(actual), nan)
    np.testing.assert_array_equal(
        np.where(nan, 0, actual).view(np.uint32), np.where(nan, 0, expected).view(np.uint32)
    )


def shapes_decoded(device, weight):
    """Shapes of all slabs of a weight, which device and packing decode alike."""
    assert device.decodes(weight.encoding)
    shapes = []
    for block, expected in zip(weight.encoded_chunks(), weight.chunks(), strict=True):
        assert block.shape == expected.shape
        same_bits(np.array(device.load_encoded(block).values), expected)
        shapes.append(block.shape)
    return shapes


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_slabs_have_the_bits_of_the_packing(tmp_path, rng, device, case, shape):
    (weight,) = encoded(tmp_path, rng, case, *shape).weights()
    assert len(shapes_decoded(device, weight)) == -(-max(shape) // 1024)


# bitsandbytes has no stacks.
STACKED = [case for case in CASES if CASES[case][0] is not nf4]


@pytest.mark.parametrize("case", ["Q4_K", "MXFP4", *STACKED])
def test_every_matrix_of_a_stack_has_its_own(tmp_path, rng, device, case):
    weights = encoded(tmp_path, rng, case, 32, 256, stack=3).weights()
    assert [weight.expert_index for weight in weights] == [0, 1, 2]
    for weight in weights:
        assert shapes_decoded(device, weight) == [(32, 256)]
    first, second, _ = (next(weight.chunks()).copy() for weight in weights)
    assert not np.array_equal(first, second, equal_nan=True)


def attention(model_type, width):
    return {
        **{"model_type": model_type, "num_attention_heads": 6, "num_key_value_heads": 2},
        **{"hidden_size": 6 * width, "head_dim": width},
    }


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("shape", [(2560, 256), (320, 1280)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_parts_of_a_fused_matrix_that_are_one_run_of_rows(tmp_path, rng, device, case, shape):
    config = attention("phi3", shape[0] // 10)
    _, *parts = encoded(tmp_path, rng, case, *shape, config=config, module=QKV).weights()
    assert [part.part.name for part in parts] == ["q_proj", "k_proj", "v_proj"]
    for part in parts:
        shapes_decoded(device, part)


def test_parts_of_scattered_rows_are_left_to_the_packing(tmp_path, rng):
    config = attention("internlm2", 32)
    whole, *parts = encoded(tmp_path, rng, "mlx 4", 320, 512, config=config, module=QKV).weights()
    assert whole.encoding is not None
    assert [part.encoding for part in parts] == [None] * 3


def test_an_order_of_groups_that_do_not_exist_is_the_packings_error(tmp_path, rng):
    make, options = CASES["gptq ordered"]
    tensors, settings = make(rng, 64, 256, **options)
    tensors["m.g_idx"][0][7] = 8
    (weight,) = opened(tmp_path, tensors, settings)
    with pytest.raises(PackingError) as expected:
        next(weight.chunks())
    with pytest.raises(PackingError) as error:
        MlxBackend("cpu").load_encoded(next(weight.encoded_chunks()))
    assert str(error.value) == str(expected.value)
    assert "g_idx names group 8 of 8" in str(error.value)


@pytest.mark.parametrize("case", [*GGML, *CASES])
def test_a_device_that_flushes_subnormals_makes_none(tmp_path, rng, case, monkeypatch):
    """What it decodes has no subnormal number, nor has a step on the way there."""
    (weight,) = encoded(tmp_path, rng, case, 64, 256).weights()
    (block,), (expected,) = weight.encoded_chunks(), (chunk.copy() for chunk in weight.chunks())
    flushing = MlxBackend("cpu")
    flushing._flushed_below = TINY
    unpacked = []
    monkeypatch.setattr(flushing, "load", lambda *words: unpacked.append(words))
    chunk = flushing.load_encoded(block)
    if unpacked:
        ((stored, dtype),) = unpacked
        assert dtype == "F32"
        same_bits(stored, expected)
    else:
        values = np.array(chunk.values)
        assert not ((values != 0) & (np.abs(values) < TINY)).any()
        same_bits(values, expected)


@pytest.mark.parametrize("scale", [2.0**-126, 2.0**-101, 2.0**-100, 1.0])
def test_the_smallest_scales_that_a_flushing_device_takes(tmp_path, rng, scale, monkeypatch):
    make, options = CASES["mlx F32"]
    tensors, settings = make(rng, 32, 256, **options)
    # A code that a bias nearly cancels: the difference is the last bit of the bias.
    tensors["m.scales"][0][:] = scale
    tensors["m.biases"][0][:] = -5 * np.nextafter(np.float32(scale), np.float32(2))
    (weight,) = opened(tmp_path, tensors, settings)
    flushing = MlxBackend("cpu")
    flushing._flushed_below = TINY
    monkeypatch.setattr(flushing, "load", lambda *words: None)
    chunk = flushing.load_encoded(next(weight.encoded_chunks()))
    assert (chunk is None) == (scale < 2.0**-100)
    if chunk is not None:
        values = np.abs(np.array(chunk.values))
        assert TINY <= values[values > 0].min() < 1e-6 * values.max()


# What the libraries wrote, and this many of it that a device decodes.
WRITTEN = {**packers.golden(), **make_packings.fixtures()}
DECODED = 101


def weights_written(path, name):
    tensors, config, _ = WRITTEN[name]
    return opened(path, tensors, config)


@pytest.mark.parametrize("name", WRITTEN)
def test_files_of_the_original_packages(tmp_path, device, name):
    for weight in weights_written(tmp_path, name):
        if weight.encoding is not None:
            shapes_decoded(device, weight)


def test_most_files_of_the_original_packages_have_an_encoding(tmp_path):
    (tmp_path / "x").mkdir()
    encodings = {name: weights_written(tmp_path / "x", name)[0].encoding for name in WRITTEN}
    assert len([each for each in encodings.values() if each is not None]) == DECODED


def test_every_packing_is_in_the_table_or_has_no_encoding(tmp_path, rng):
    """Every kind that a decoder has is tried above, and every type of ggml."""
    kinds = {"ggml"}
    for number, case in enumerate(CASES):
        (weight,) = encoded(tmp_path / str(number), rng, case, 64, 256).weights()
        kinds.add(weight.encoding.kind)
        assert weight.parameter.packing in PACKINGS
    assert kinds == set(DECODERS)
    assert set(TYPES) == set(GGML)


def test_words_are_copied_before_the_next_block_is_read(tmp_path, rng, device):
    (weight,) = encoded(tmp_path, rng, "Q8_0", 64, 256).weights()
    (block,) = weight.encoded_chunks()
    words = block.words[0].copy()
    expected = next(weight.chunks()).copy()
    object.__setattr__(block, "words", (words,))
    chunk = device.load_encoded(block)
    words[:] = 0
    mx.eval(chunk.values)
    same_bits(np.array(chunk.values), expected)
