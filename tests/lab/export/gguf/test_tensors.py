"""Tensors of the file, read back by the engine: every bit, or the nearest number."""

import re
from types import SimpleNamespace

import gguf
import mlx.core as mx
import numpy as np
import pytest
from exported import export, metadata, stored, write_config, write_qwen3
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import CheckpointError, ConfigError
from mlx_probe.core.records import ModelFiles
from mlx_probe.lab.export.gguf.types import interleave, read_as

WORDS = {"F32": "u4", "F16": "u2", "BF16": "u2"}
TYPE = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}
MODELS = {
    "llama": {},
    "llama untied": {"tied_embeddings": False, "kv_heads": 4, "rope_theta": 5e5},
    "qwen3": {"qk_norm": True, "norm_epsilon": 1e-6},
    "qwen3 untied": {"qk_norm": True, "tied_embeddings": False, "kv_heads": 1},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("bytes"), kind="bytes", vocabulary=270)


def theirs(model, name):
    """The tensor of Hugging Face's layout that a name of llama.cpp stands for."""
    arch = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen3": gguf.MODEL_ARCH.QWEN3}[model.split()[0]]
    names = gguf.get_tensor_name_map(arch, 2)
    with mx.stream(mx.cpu):
        for source in model_names(MODELS[model]):
            if names.get_name(source, try_suffixes=(".weight",)) == name:
                return source
    raise AssertionError(name)


def model_names(shape):
    from tiny_llm import SHAPE

    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.model.count import parameter_shapes

    return parameter_shapes(ModelConfig(**{**SHAPE, **shape}))


def turned(matrix, heads):
    """llama.cpp's order of rows, one by one."""
    width = len(matrix) // heads
    result = matrix.copy()
    for head in range(heads):
        for i in range(width // 2):
            result[head * width + 2 * i] = matrix[head * width + i]
            result[head * width + 2 * i + 1] = matrix[head * width + width // 2 + i]
    return result


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("source", "kind"),
    [("float32", "auto"), ("bfloat16", "bf16"), ("bfloat16", "f32"), ("float16", "auto"),
     ("float32", "bf16"), ("float32", "f16"), ("float16", "bf16")],
)  # fmt: skip
def test_every_number(tmp_path, tokenizer, model, source, kind):
    shape = MODELS[model]
    folder = make_model(tmp_path / "model", tokenizer, dtype=source, **shape)
    exported = export(folder, tmp_path / "m.gguf", kind)
    chosen = {"float32": "f32", "float16": "f16"}[source] if kind == "auto" else kind
    assert exported.type == chosen
    tensors = stored(tmp_path / "m.gguf")
    assert {theirs(model, name) for name in tensors} == set(model_names(shape))
    assert exported.tensors == len(tensors)
    original = mx.load(str(folder / "model.safetensors"))
    heads = {"attn_q.weight": 4, "attn_k.weight": shape.get("kv_heads", 2)}
    for name, (dtype, words) in tensors.items():
        array = original[theirs(model, name)]
        want = TYPE[chosen] if array.ndim == 2 else mx.float32
        assert dtype == {mx.float32: "F32", mx.float16: "F16", mx.bfloat16: "BF16"}[want]
        integers = mx.uint32 if dtype == "F32" else mx.uint16
        with mx.stream(mx.cpu):
            expected = np.array(array.astype(want).view(integers))
        # `endswith`: each block has its own.
        turn = next((n for end, n in heads.items() if name.endswith(end)), 0)
        if turn and model.startswith("llama"):
            assert not np.array_equal(turned(expected, turn), expected)
            expected = turned(expected, turn)
        np.testing.assert_array_equal(words.view(WORDS[dtype]), expected, err_msg=name)


def test_what_the_file_says(tmp_path, tokenizer):
    folder = make_model(tmp_path / "model", tokenizer, rope_theta=5e5, hidden=80)
    export(folder, tmp_path / "m.gguf", "bf16")
    said = metadata(tmp_path / "m.gguf")
    expected = {
        "general.architecture": "llama", "general.file_type": 32, "llama.context_length": 48,
        "llama.embedding_length": 32, "llama.block_count": 2, "llama.feed_forward_length": 80,
        "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 8, "llama.attention.value_length": 8,
        "llama.rope.dimension_count": 8, "llama.rope.freq_base": 5e5, "llama.vocab_size": 270,
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected
    assert said["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)


def test_heads_of_any_width(tmp_path, tokenizer):
    folder = write_qwen3(tmp_path / "model", tokenizer)
    exported = export(folder, tmp_path / "m.gguf")
    said = metadata(tmp_path / "m.gguf")
    assert said["qwen3.attention.key_length"] == said["qwen3.rope.dimension_count"] == 16
    tensors = stored(tmp_path / "m.gguf")
    original = load_file(folder / "model.safetensors")
    expected = original["model.layers.1.self_attn.k_proj.weight"]
    np.testing.assert_array_equal(tensors["blk.1.attn_k.weight"][1], expected)
    # Rows of the embedding that no token has.
    assert said["tokenizer.ggml.tokens"][-3:] == ["[PAD270]", "[PAD271]", "[PAD272]"]
    assert said["tokenizer.ggml.token_type"][-3:] == [5, 5, 5]
    assert exported.vocabulary == 273


def test_packed_weights_are_unpacked(tmp_path, tokenizer):
    folder = make_model(tmp_path / "model", tokenizer, hidden=64)
    original = mx.load(str(folder / "model.safetensors"))
    packed, values = {}, {}
    with mx.stream(mx.cpu):
        for name, array in original.items():
            packed[name] = values[name] = array
            if array.ndim == 2:
                codes, scales, biases = mx.quantize(array, 32, 4)
                base = name.removesuffix("weight")
                packed |= {name: codes, f"{base}scales": scales, f"{base}biases": biases}
                values[name] = mx.dequantize(codes, scales, biases, 32, 4)
        mx.save_safetensors(str(folder / "model.safetensors"), packed)
        write_config(folder, quantization={"group_size": 32, "bits": 4})
        with pytest.raises(ConfigError, match="group 32, which is not written to GGUF"):
            export(folder, tmp_path / "m.gguf")
        export(folder, tmp_path / "m.gguf", "f32")
        got = stored(tmp_path / "m.gguf")["blk.0.ffn_down.weight"][1]
        want = np.array(values["model.layers.0.mlp.down_proj.weight"])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("shape", [(2500, 3), (3, 2500), (2500,), (1030, 1030)])
def test_chunks_of_any_shape(tmp_path, monkeypatch, shape):
    """Long weights come in several chunks, along either side."""
    monkeypatch.setattr("mlx_probe.checkpoint.weight._CHUNK_ELEMENTS", 1)
    array = np.random.default_rng(0).standard_normal(shape).astype("f4")
    save_file({"x": array}, tmp_path / "x.safetensors")
    path = tmp_path / "x.safetensors"
    with open_checkpoint(ModelFiles("m", "local", path, (path,))) as checkpoint:
        [weight] = checkpoint.weights()
        assert len(list(weight.chunks())) > 1
        np.testing.assert_array_equal(read_as(weight, "F32"), array)
        half = read_as(weight, "BF16")
    assert np.abs(decode(half, "BF16") - array).max() <= np.abs(array).max() / 256


@pytest.mark.parametrize(
    ("value", "kind", "lost"),
    [(65504.0, "F16", False), (65520.0, "F16", True), (-1e6, "F16", True), (np.inf, "F16", False),
     (np.nan, "BF16", False), (3.39e38, "BF16", False), (3.4e38, "BF16", True)],
)  # fmt: skip
def test_numbers_beyond_the_type(value, kind, lost):
    array = np.array([[1.0, value]], "f4")
    weight = SimpleNamespace(
        name="w", problem=None, chunk_dtype="F32", extents=(1, 2), shape=(1, 2), rows=1, tall=False,
        chunks=lambda: iter([array]),
    )  # fmt: skip
    if lost:
        with pytest.raises(ConfigError, match=re.escape(f"w holds {value:g}, which is beyond")):
            read_as(weight, kind)
    else:
        got = decode(read_as(weight, kind), kind)[0, 1]
        assert np.isnan(got) if np.isnan(value) else got == pytest.approx(value, rel=1 / 256)


@pytest.mark.parametrize(
    ("name", "says"),
    [("mlp.up_proj.weight", "cannot be read: I32 integers"), ("input_layernorm.weight", "I32")],
)
def test_integers_are_no_weights(tmp_path, tokenizer, name, says):
    folder = make_model(tmp_path / "model", tokenizer)
    weights = load_file(folder / "model.safetensors")
    name = f"model.layers.0.{name}"
    weights[name] = weights[name].astype("i4")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{name} .*{says}"):
        export(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_pairs_of_neighbours():
    matrix = np.arange(8)[:, None] * np.ones(2)
    assert interleave(matrix, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
