"""Models that have no place in a file, and what was there before stays."""

import errno
import shutil

import pytest
from exported import export, write_config
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError, SourceError
from mlx_probe.lab.export.gguf import write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    return make_model(root / "model", make_tokenizer(root / "tokenizer"))


@pytest.fixture
def model(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "mixtral"}, "model_type is 'mixtral', which is not exported to GGUF"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn', which the export"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, not a count"),
        ({"vocab_size": "many"}, "vocab_size is 'many', not a count"),
        ({"max_position_embeddings": None}, "max_position_embeddings is None, not a count"),
        ({"rms_norm_eps": -1}, "rms_norm_eps is -1, not above 0"),
        ({"head_dim": 7}, "head_dim is 7"),
        ({"num_hidden_layers": 3}, "tensor model.layers.2.input_layernorm.weight is missing"),
        ({"num_hidden_layers": 1}, "tensor model.layers.1.* has no place in llama.cpp's llama"),
        ({"model_type": "qwen3", "head_dim": 8}, "self_attn.q_norm.weight is missing"),
        ({"intermediate_size": 64}, r"gate_proj.weight has the shape \(48, 32\), not \(64, 32\)"),
        ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
    ],
)
def test_other_models(model, tmp_path, changes, says):
    write_config(model, **changes)
    with pytest.raises(CheckpointError, match=says):
        export(model, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_stored_copy_of_the_embedding_is_left_out(model, tmp_path):
    plain = export(model, tmp_path / "plain.gguf")
    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    save_file(weights, model / "model.safetensors")
    assert export(model, tmp_path / "m.gguf").tensors == plain.tensors
    assert (tmp_path / "m.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


def test_files_of_another_layout(model, tmp_path):
    export(model, tmp_path / "m.gguf")
    # One with a byte-level tokenizer is unpacked, and written again.
    with pytest.raises(CheckpointError, match="is not read from GGUF"):
        export(tmp_path / "m.gguf", tmp_path / "again.gguf")
    with pytest.raises(SourceError, match="nowhere"):
        export(tmp_path / "nowhere", tmp_path / "again.gguf")


def test_the_model_is_not_overwritten(model):
    before = (model / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(ConfigError, match=f"{name} belongs to the model"):
            export(model, model / name)
    assert (model / "model.safetensors").read_bytes() == before
    export(model, model / "inside.gguf")
    export(model, model / "inside.gguf")


def test_a_place_that_takes_no_file(model, tmp_path, monkeypatch):
    with pytest.raises(ResultError, match="is a folder"):
        export(model, tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultError, match="cannot write"):
        export(model, tmp_path / "file" / "m.gguf")
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(SourceError, match=r"the GGUF file needs .* more in"):
            export(model, tmp_path / "m.gguf")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_was_there_stays(model, tmp_path, monkeypatch, failure):
    out = tmp_path / "out" / "m.gguf"
    export(model, out)
    before = out.read_bytes()
    calls = []

    def fail(weight, dtype):
        calls.append(weight.name)
        if len(calls) == 5:
            raise failure
        return read(weight, dtype)

    read = write.read_as
    with monkeypatch.context() as patch:
        patch.setattr(write, "read_as", fail)
        with pytest.raises(ResultError if isinstance(failure, OSError) else KeyboardInterrupt):
            export(model, out, "f16")
    assert out.read_bytes() == before
    assert {path.name for path in out.parent.iterdir()} == {"m.gguf", "m.gguf.run_meta.json"}
    assert export(model, out, "f16").bytes < len(before)
