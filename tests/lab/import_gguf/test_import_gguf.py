"""A model that went through a GGUF file is the same model."""

import json

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import load_file
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError
from mlx_probe.lab.data.tokenizer import load_tokenizer
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.generate.folder import find_model_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes") / "tokenizer"
    return make_tokenizer(folder, kind="bytes", vocabulary=330)


@pytest.mark.parametrize("shape", [{}, {"qk_norm": True}, {"tied_embeddings": False}])
def test_back_and_forth(tokenizer, tmp_path, shape):
    source = make_model(tmp_path / "source", tokenizer, **shape)
    EXPORTS["gguf"](str(source), tmp_path / "tiny.gguf", "f32")
    folder = find_model_folder(str(tmp_path / "tiny.gguf"))
    assert folder.name == "tiny"
    before, after = (load_file(each / "model.safetensors") for each in (source, folder))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    config, own = (json.loads((each / "config.json").read_text()) for each in (source, folder))
    # The tokenizer's pad token, and what llama.cpp has no word for.
    for key in ("attention_dropout", "initializer_range", "mlp_bias", "pad_token_id"):
        config.pop(key, None)
    assert config == {key: own[key] for key in config}


def test_the_tokenizer(tokenizer, tmp_path):
    source = make_model(tmp_path / "source", tokenizer)
    EXPORTS["gguf"](str(source), tmp_path / "tiny.gguf", "f32")
    read = load_tokenizer(find_model_folder(str(tmp_path / "tiny.gguf")))
    for text in (*TEXTS, "  two\n\n1999 <|im_start|> it's"):
        assert read.encode(text) == tokenizer.encode(text)
        assert read.encode_special(text) == tokenizer.encode_special(text)
        assert read.decode(read.encode(text)) == text
    assert (read.eos_id, read.chat_template) == (tokenizer.eos_id, tokenizer.chat_template)
    assert read.special_ids == tokenizer.special_ids


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_types_of_16_bits_are_kept(tokenizer, tmp_path, kind):
    source = make_model(
        tmp_path / "source", tokenizer, dtype={"f16": "float16"}.get(kind, "bfloat16")
    )
    EXPORTS["gguf"](str(source), tmp_path / "tiny.gguf", kind)
    folder = find_model_folder(str(tmp_path / "tiny.gguf"))
    before, after = ((each / "model.safetensors").read_bytes() for each in (source, folder))
    assert before == after


def test_a_second_call_finds_the_folder(tokenizer, tmp_path):
    source = make_model(tmp_path / "source", tokenizer)
    EXPORTS["gguf"](str(source), tmp_path / "tiny.gguf", "f32")
    folder = find_model_folder(str(tmp_path / "tiny.gguf"))
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    # Without a suffix, as Ollama has it.
    assert find_model_folder(str(tmp_path / "tiny.gguf")) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    blob = (tmp_path / "tiny.gguf").rename(tmp_path / "sha256-12")
    assert (find_model_folder(str(blob)) / "config.json").is_file()


@pytest.mark.parametrize(
    ("architecture", "says"),
    [("mamba", "architecture 'mamba' is not run here"), ("llama", "embedding_length is None")],
)
def test_other_files(tmp_path, architecture, says):
    path = tmp_path / "other.gguf"
    writer = GGUFWriter(path, architecture)
    writer.add_tensor("token_embd.weight", np.zeros((2, 4), "f4"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=says):
        find_model_folder(str(path))
