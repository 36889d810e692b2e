"""A model's name: the part of its path that says something, or what its own files say."""

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe.source.naming import local_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = "/cache/huggingface/hub/models--Qwen--Qwen3-0.6B"
ARRAYS = {"model.norm.weight": (np.ones(4, np.float32), "F32")}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/x/model.gguf", "x"),
        ("/a/y/model.safetensors", "y"),
        ("/a/x/pytorch_model.bin", "x"),
        ("/a/x/consolidated.00.pth", "x"),
        ("/a/x/weights.npz", "x"),
        ("/a/x/model-00001-of-00002.safetensors", "x"),
        ("/a/x/adapter_model.safetensors", "x"),
        ("/a/x/main/model.safetensors", "x"),
        ("/a/x/model-q4_0.gguf", "x/model-q4_0"),
        ("/a/x/ggml-model-q4_0.gguf", "x/ggml-model-q4_0"),
        ("/a/pipe/unet/diffusion_pytorch_model.safetensors", "pipe/unet"),
        ("/a/x/checkpoint-500/model.safetensors", "x/checkpoint-500"),
        ("/a/Qwen3-0.6B-Q8_0.gguf", "Qwen3-0.6B-Q8_0"),
        ("/a/llama-7b-00001-of-00002.gguf", "llama-7b"),
        ("/a/llama-2.gguf", "llama-2"),
        (f"{HUB}/snapshots/{COMMIT}/model.safetensors", "Qwen/Qwen3-0.6B"),
        (f"/c/models--gpt2/snapshots/{COMMIT}/model.safetensors", "gpt2"),
    ],
)
def test_a_file_is_named_by_what_says_something(path, name):
    assert local_name(Path(path), is_file=True) == (name, True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/phi", "phi"),
        ("/a/x/model", "x"),
        ("/a/x/main", "x"),
        ("/a/x/checkpoint-500", "x/checkpoint-500"),
        ("/a/pipe/text_encoder_2", "pipe/text_encoder_2"),
        (f"{HUB}/snapshots/{COMMIT}", "Qwen/Qwen3-0.6B"),
        (HUB, "Qwen/Qwen3-0.6B"),
    ],
)
def test_so_is_a_folder(path, name):
    assert local_name(Path(path), is_file=False) == (name, True)


@pytest.mark.parametrize(
    ("path", "is_file", "name"),
    [
        ("/tmp/model/model.safetensors", True, "model"),
        ("/deep/models/model/weights/model.gguf", True, "deep"),
        ("/model.gguf", True, "model"),
        ("/var/blobs/sha256-0123456789abcdef0123", True, "sha256-0123456789abcdef0123"),
        ("/data/outputs", False, "outputs"),
        (str(Path.home() / "model.gguf"), True, "model"),
    ],
)
def test_a_path_that_says_nothing_says_so(path, is_file, name):
    assert local_name(Path(path), is_file) == (name, False)


def opened(path):
    with mlx_probe.open_checkpoint(path) as checkpoint:
        return checkpoint.files.model_id


def write_gguf(path, name):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    if name is not None:
        writer.add_name(name)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_configuration_s_name_counts_where_the_path_says_nothing(tmp_path):
    for folder, expected in (("x/model", "x"), ("x/run/out/model", "Qwen/Qwen3-0.6B")):
        within = tmp_path / folder
        within.mkdir(parents=True)
        write_safetensors(within / "model.safetensors", ARRAYS)
        (within / "config.json").write_text(json.dumps({"_name_or_path": "Qwen/Qwen3-0.6B"}))
        assert opened(within) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Llama 3.2 1B", "Llama 3.2 1B"),
        ("two\nlines\x1b[31m", "two lines [31m"),
        ("", "x"),
        ("model", "x"),
        (None, "x"),
        ("/root/train/my-llama", "my-llama"),
        ("long" * 99, ("long" * 99)[:100]),
    ],
)
def test_gguf_s_name_counts_where_the_path_says_nothing(tmp_path, given, expected):
    assert opened(write_gguf(tmp_path / "x/models/gguf/model.gguf", given)) == expected
    assert opened(write_gguf(tmp_path / "y/model.gguf", given)) == "y"


def test_rows_metadata_and_folder_have_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_gguf(tmp_path / "x/models/gguf/model.gguf", "Llama 3.2 1B")
    run = mlx_probe.analyze(path, config=mlx_probe.AnalyzeConfig(backend="numpy"))
    assert run.folder.parent == Path("data/outputs/Llama-3.2-1B")
    assert run.meta["model"]["id"] == "Llama 3.2 1B"
    assert set(run.load().model_id) == {"Llama 3.2 1B"}
    with mlx_probe.reopen("data/outputs/Llama-3.2-1B") as checkpoint:
        assert checkpoint.files.model_id == "Llama 3.2 1B"
