"""Packed types, read back by the engine: the blocks of the gguf package, within their bounds."""

import shutil

import gguf
import numpy as np
import pytest
from exported import export, metadata, stored
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from tiny_llm import make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.lab.export.gguf.types import BLOCK, TYPES, is_packed, nbytes_of

PACKED = [kind for kind, name in TYPES.items() if is_packed(name)]
# Largest difference as a share of a block's scale, beside float16's rounding of the scale: codes
# of the symmetric types reach one step further to one side than to the other.
STEP = {"q8_0": 0.5, "q5_1": 0.5, "q5_0": 1.0, "q4_1": 0.5, "q4_0": 1.0}
LEVELS = {"q8_0": 127, "q5_1": 31, "q5_0": 16, "q4_1": 15, "q4_0": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed")
    tokenizer = make_tokenizer(root / "tokenizer", kind="bytes", vocabulary=270)
    shape = {"dim": 64, "hidden": 96, "tied_embeddings": False}
    return make_model(root / "model", tokenizer, dtype="bfloat16", **shape)


def originals(folder):
    import mlx.core as mx

    with mx.stream(mx.cpu):
        arrays = mx.load(str(folder / "model.safetensors"))
        return {name: np.array(array.astype(mx.float32)) for name, array in arrays.items()}


def bound(values, kind):
    """What a number may be off, by the scale of its block."""
    blocks = values.reshape(-1, BLOCK)
    spread = np.ptp(blocks, 1) if kind.endswith("_1") else np.abs(blocks).max(1)
    scale = spread / LEVELS[kind]
    # Scale and smallest number are float16; codes are up to 127.
    rounding = (LEVELS[kind] * scale + np.abs(blocks).max(1)) * 2.0**-11
    return np.repeat(scale * STEP[kind] + rounding, BLOCK).reshape(values.shape) + 1e-7


@pytest.mark.parametrize("kind", PACKED)
def test_every_number(tmp_path, model, kind):
    exported = export(model, tmp_path / "m.gguf", kind)
    assert exported.type == kind
    assert exported.bytes == (tmp_path / "m.gguf").stat().st_size
    source = originals(model)
    tensors = stored(tmp_path / "m.gguf")
    dtype, got = tensors["blk.1.ffn_down.weight"]
    values = source["model.layers.1.mlp.down_proj.weight"]
    assert dtype == TYPES[kind]
    number = gguf.GGMLQuantizationType[TYPES[kind]]
    np.testing.assert_array_equal(got, dequantize(quantize(values, number), number))
    assert (np.abs(got - values) <= bound(values, kind)).all()
    assert np.abs(got - values).max() > 0
    # Norms stay as they are, the head is Q8_0 at least.
    assert tensors["blk.0.attn_norm.weight"][0] == "F32"
    assert tensors["output.weight"][0] == "Q8_0"
    assert tensors["token_embd.weight"][0] == TYPES[kind]
    expected = gguf.LlamaFileType[f"MOSTLY_{TYPES[kind]}"]
    assert metadata(tmp_path / "m.gguf")["general.file_type"] == expected


def test_rows_change_their_order_packed_or_not(tmp_path, model):
    export(model, tmp_path / "plain.gguf", "f32")
    export(model, tmp_path / "m.gguf", "q8_0")
    number = gguf.GGMLQuantizationType.Q8_0
    plain = stored(tmp_path / "plain.gguf")["blk.0.attn_q.weight"][1]
    got = stored(tmp_path / "m.gguf")["blk.0.attn_q.weight"][1]
    np.testing.assert_array_equal(got, dequantize(quantize(plain, number), number))


def test_rows_that_are_no_whole_blocks(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tokenizer", kind="bytes", vocabulary=270)
    folder = make_model(tmp_path / "model", tokenizer, hidden=48)
    exported = export(folder, tmp_path / "m.gguf", "q4_0")
    tensors = stored(tmp_path / "m.gguf")
    assert tensors["blk.0.ffn_down.weight"][0] == "F16"
    assert tensors["blk.0.ffn_up.weight"][0] == "Q4_0"
    # The embedding is the head.
    assert tensors["token_embd.weight"][0] == "Q8_0"
    assert exported.notes[0].startswith("2 tensor(s) are float16, blk.0.ffn_down.weight for one")


@pytest.mark.parametrize("shape", [(2560, 64), (64, 2560), (1056, 1056)])
def test_chunks_of_any_shape(tmp_path, monkeypatch, shape):
    """Long weights come in several chunks, which begin at whole blocks."""
    from mlx_probe.checkpoint import open_checkpoint
    from mlx_probe.core.records import ModelFiles
    from mlx_probe.lab.export.gguf.types import read_as

    monkeypatch.setattr("mlx_probe.checkpoint.weight._CHUNK_ELEMENTS", 1)
    array = np.random.default_rng(0).standard_normal(shape).astype("f4")
    save_file({"x": array}, tmp_path / "x.safetensors")
    path = tmp_path / "x.safetensors"
    with open_checkpoint(ModelFiles("m", "local", path, (path,))) as checkpoint:
        [weight] = checkpoint.weights()
        assert len(list(weight.chunks())) > 1
        got = read_as(weight, "Q4_1")
    assert got.nbytes == nbytes_of(shape, "Q4_1")
    np.testing.assert_array_equal(got, quantize(array, gguf.GGMLQuantizationType.Q4_1))


@pytest.mark.parametrize("kind", ["q4_k_m", "Q8_0", "q2_k", "iq4_nl"])
def test_types_that_are_not_written(tmp_path, model, kind):
    with pytest.raises(ConfigError, match=f"type {kind} is not written.*\n.*q8_0, q5_1"):
        export(model, tmp_path / "m.gguf", kind)


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (np.nan, CheckpointError, "holds NaN or Inf, which Q4_1 cannot hold"),
        (1e6, ConfigError, "holds 1e[+]06, which is beyond Q4_1"),
    ],
)
def test_numbers_that_no_block_holds(tmp_path, model, value, error, says):

    folder = shutil.copytree(model, tmp_path / "model")
    weights = originals(folder)
    weights["model.layers.0.mlp.up_proj.weight"][3, 5] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(error, match=f"mlp.up_proj.weight {says}"):
        export(folder, tmp_path / "m.gguf", "q4_1")
