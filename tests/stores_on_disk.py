"""The Hub's cache, Ollama's and LM Studio's stores, laid out as their programs do."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from weightfiles import write_gguf, write_safetensors

from mlx_probe.library.catalog import find_model, load_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = """---
license: apache-2.0
base_model:
- owner/base
---
# A title

![badge](https://example.org/x.svg)

A tiny **model** for [tests](https://example.org), of which little is said.

More.
"""


def empty_home(monkeypatch, folder):
    """A new home folder, so that a test does not see the models of this machine."""
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MLX_PROBE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(folder / "catalog.sqlite"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    return folder


def tensors(seed=0, rows=8):
    rng = np.random.default_rng(seed)
    return {
        "model.embed_tokens.weight": rng.standard_normal((rows, 4)).astype(np.float32),
        "model.layers.0.self_attn.q_proj.weight": rng.standard_normal((4, 4)).astype(np.float32),
    }


def safetensors_file(path, seed=0, rows=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_safetensors(path, tensors(seed, rows))


def gguf_file(path, seed=0, rows=8, **scalars):
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {
        "token_embd.weight": (tensors(seed, rows)["model.embed_tokens.weight"], "F32"),
        "blk.0.attn_q.weight": (
            tensors(seed, rows)["model.layers.0.self_attn.q_proj.weight"],
            "F32",
        ),
    }
    return write_gguf(path, named, **scalars)


def config_file(path, **entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model_type": "llama", "hidden_size": 4, **entries}))
    return path


def folder_model(folder, seed=0, rows=8):
    config_file(folder / "config.json")
    safetensors_file(folder / "model.safetensors", seed, rows)
    return folder


def hub_model(cache, name, files, commit=COMMIT):
    """A snapshot whose files are links to blobs: name -> bytes; weights by sha256, as LFS does."""
    repository = Path(cache) / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for file, content in files.items():
        lfs = file.endswith((".safetensors", ".gguf", ".bin"))
        digest = (hashlib.sha256 if lfs else hashlib.sha1)(content).hexdigest()
        blob = repository / "blobs" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def ollama_model(store, name, layers, host="registry.ollama.ai", owner="library", tag="latest"):
    """A manifest and its blobs: (media type's last word, bytes) for each layer."""
    described = []
    for kind, content in layers:
        digest = hashlib.sha256(content).hexdigest()
        blob = Path(store) / "blobs" / f"sha256-{digest}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        described.append(
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": f"sha256:{digest}",
                "size": len(content),
            }
        )
    manifest = Path(store) / "manifests" / host / owner / name / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": described}))
    return manifest


def model_ids(database):
    return [model.id for model in load_models(database)]


def model_named(database, text):
    return find_model(load_models(database), text)
