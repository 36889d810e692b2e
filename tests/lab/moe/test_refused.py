"""What is not grafted, and why: one message each, and nothing is written."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlx_probe.core.errors import CheckpointError, ConfigError, ProbeError
from mlx_probe.lab.moe.graft import GraftConfig, graft, graft_model
from mlx_probe.lab.moe.graft.config import experts_of


def refused(folder, out, config, says):
    with pytest.raises(ProbeError) as refusal:
        graft_model(str(folder), out, config)
    assert says in refusal.value.fact
    assert refusal.value.remedy
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    return refusal.value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"experts": 7}, "7 experts of 6 are not the 48 hidden units"),
        ({"width": 5}, "9 experts of 5 are not the 48"),
        ({"experts": 4, "width": 6}, "4 experts of 6 are not"),
        ({"width": 48}, "one expert of 48 is the block itself"),
        ({"form": "copy", "experts": 2, "active": 3}, "3 of 2 experts cannot be active"),
        ({"tokens": 5000}, "too few for 4992 + 1"),
    ],
)
def test_sizes(dense, tmp_path, settings, says):
    config = GraftConfig(**{"data": dense.text, **settings})
    refused(dense.llama, tmp_path / "out", config, says)


@pytest.mark.parametrize(
    "settings",
    [
        {"form": "copy", "width": 6},
        {"form": "drop", "split": "random"},
        {"active": 2},
        {"split": "activation", "run": False},
        {"form": "half"},
        {"share": 0.0},
        {"tokens": 1},
        {"seed": "x"},
    ],
)
def test_settings(settings):
    with pytest.raises(ConfigError):
        GraftConfig(**settings)


def test_default_sizes():
    assert experts_of(GraftConfig(), 1536).experts == 16
    assert experts_of(GraftConfig(), 3072).width == 96
    # 2^8 x 43: nothing between 86 and 96 divides it.
    assert experts_of(GraftConfig(), 11008).width == 86
    assert experts_of(GraftConfig(experts=12), 1536).width == 128


@pytest.mark.parametrize(
    ("family", "changes", "says"),
    [
        ("llama", {"model_type": "gemma"}, "is known with the attention of 'gemma'"),
        ("llama", {"model_type": "mixtral", "num_local_experts": 8}, "is a mixture already"),
        ("qwen3", {"num_experts": 4}, "is a mixture already"),
        ("llama", {"mlp_bias": True}, "mlp_bias is True"),
        ("llama", {"attention_bias": True}, "attention_bias is True"),
        ("llama", {"sliding_window": 4096}, "sliding_window is 4096"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "embedding is scaled: llama3"),
        ("llama", {"head_dim": 16}, "its heads are 16 wide"),
        ("llama", {"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ("llama", {"intermediate_size": 64}, "has the shape (48, 32), not (64, 32)"),
        ("llama", {"tie_word_embeddings": False}, "lm_head.weight is missing"),
        ("qwen3", {"model_type": "llama"}, "k_norm.weight has no place there"),
    ],
)  # fmt: skip
def test_models(dense, tmp_path, family, changes, says):
    folder = tmp_path / "model"
    shutil.copytree(getattr(dense, family), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    refused(folder, tmp_path / "out", GraftConfig(run=False), says)


def test_a_window_that_is_not_used(dense, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(dense.qwen3, folder)
    config = json.loads((folder / "config.json").read_text())
    window = {"sliding_window": 4096, "use_sliding_window": False}
    (folder / "config.json").write_text(json.dumps(config | window))
    graft_model(str(folder), tmp_path / "out", GraftConfig(run=False))
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["sliding_window"] is None


def test_weights(dense, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(dense.llama, folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({key: value for key, value in weights.items() if key != name}, path)
    refused(folder, tmp_path / "out", GraftConfig(run=False), f"{name} is missing")
    # What old writers store of the rotary embedding follows from config.json.
    computed = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, "f4")}
    save_file(weights | computed, path)
    made = graft_model(str(folder), tmp_path / "out", GraftConfig(run=False))
    assert not any("inv_freq" in key for key in load_file(tmp_path / "out" / made.files[0]))
    large = {name: np.full(weights[name].shape, 3e38, "f4") for name in weights if "down" in name}
    save_file(weights | large, path)
    refused(folder, tmp_path / "large", GraftConfig(run=False), "is beyond F32")


def test_gguf_files_that_are_no_model(dense, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    error = refused(tmp_path / "model.gguf", tmp_path / "out", GraftConfig(run=False), "truncated")
    assert isinstance(error, CheckpointError)


def test_what_does_not_fit_in_memory(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(graft, "available_memory", lambda gpu: 100_000)
    config = GraftConfig(form="copy", data=dense.text, tokens=48)
    error = refused(dense.llama, tmp_path / "out", config, "takes 404.1 kB")
    assert "--no-run" in error.remedy
    graft_model(str(dense.llama), tmp_path / "out", GraftConfig(form="copy", run=False))


def test_without_a_tokenizer(dense, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(dense.llama / name, folder)
    config = GraftConfig(data=dense.text, tokens=48)
    refused(folder, tmp_path / "out", config, "has no tokenizer.json")
    graft_model(str(folder), tmp_path / "out", GraftConfig(run=False))


def test_the_folder_that_is_read(dense, tmp_path):
    with pytest.raises(ConfigError, match="which is read"):
        graft_model(str(dense.llama), dense.folder, GraftConfig(run=False))
    with pytest.raises(ConfigError, match="dtype is int8"):
        graft_model(str(dense.llama), tmp_path / "out", GraftConfig(run=False, dtype="int8"))
