"""Repositories with models in several files: split GGUF, and pipelines of diffusers."""

import json

import pytest

from mlx_probe.core.errors import SourceError
from mlx_probe.source import resolve

PARTS = tuple(f"m-Q4-{n:05}-of-00002.gguf" for n in (1, 2))
INDEX = "diffusion_pytorch_model.safetensors.index.json"
SHARDS = tuple(f"diffusion_pytorch_model-{n:05}-of-00002.safetensors" for n in (1, 2))


def repository(hub, *names, **contents):
    files = {name: name.encode() for name in names} | contents
    hub.repos["owner/name"] = {"main": files}


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("text", ["owner/name", f"owner/name:{PARTS[1]}", "owner/name:Q4/*00001*"])
def test_any_part_of_a_split_model_means_all(hub, text, remote):
    others = [f"Q8/n-{n:05}-of-00002.gguf" for n in (1, 2)] if ":" in text else []
    repository(hub, "README.md", *(f"Q4/{part}" for part in PARTS), *others)
    files = resolve(text, remote=remote)
    assert [path.name for path in files.weights] == list(PARTS)


@pytest.mark.parametrize("text", ["owner/name", f"owner/name:{PARTS[1]}"])
def test_a_missing_part_is_named(hub, text):
    repository(hub, PARTS[1])
    with pytest.raises(SourceError, match=f"{PARTS[0]} is missing"):
        resolve(text)
    assert hub.downloaded() == []


def test_a_pipeline_asks_for_a_component(hub):
    weight_map = {"a": SHARDS[0], "b": SHARDS[1]}
    repository(
        hub,
        *("model_index.json", "vae/diffusion_pytorch_model.safetensors", "vae/config.json"),
        *(f"transformer/{name}" for name in (*SHARDS, "config.json")),
        "transformer/diffusion_pytorch_model.fp16.safetensors",
        **{f"transformer/{INDEX}": json.dumps({"weight_map": weight_map}).encode()},
    )
    with pytest.raises(SourceError, match="a pipeline of 2 models: transformer, vae") as error:
        resolve("owner/name")
    assert "owner/name:transformer" in error.value.remedy
    files = resolve("owner/name:transformer")
    assert [path.name for path in files.weights] == list(SHARDS)
    assert files.index.name == INDEX
    assert resolve("owner/name:vae").config.parent.name == "vae"
