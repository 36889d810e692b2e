"""The name of a model on this disk, from the part of its path that says something."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["local_name"]

# Folders of the Hub's cache: models--Qwen--Qwen3-0.6B/snapshots/<commit>.
_HUB_FOLDER = re.compile(r"models--(?P<name>[^/]+)")
# Layers of caches, which come between a model's own folder and its files.
_LAYERS = re.compile(r"snapshots|blobs|refs|[0-9a-f]{16,}|sha256[-:][0-9a-f]{16,}")
# What programs call the weights of every model, and what people call the folders of all models.
_GENERIC = re.compile(
    r"models?|pytorch_model|tf_model|flax_model|adapter_model|adapters?|consolidated|weights?"
    r"|checkpoints?|ckpts?|params|pytorch_lora_weights|diffusion_pytorch_model|ggml-model"
    r"|state_dict|hf|huggingface|gguf|safetensors|onnx|original|main|master|latest|last|final"
    r"|best|outputs?|results?|exports?|out|runs?|train|training|data|dataset|te?mp|\.?cache|hub"
    r"|downloads?|desktop|documents|home|root|users?|mnt|media|opt|var|srv|volumes|content"
    r"|workspace|work|src|build|dist|bin|files|artifacts",
    re.IGNORECASE,
)
# A part of a model in several files: model-00001-of-00002; consolidated.00, weights.3.
_PART_OF = re.compile(r"[-._]\d{1,9}-of-\d{1,9}$")
_PART = re.compile(r"[-._]\d{1,9}$")
# Names that say which of a model's editions or parts it is, and not which model.
_EDITION = re.compile(
    r"(?:ggml-)?(?:model|pytorch_model|weights|consolidated|diffusion_pytorch_model)[-._].+"
    r"|(?:checkpoint|epoch|step|iter|global_step)[-_]?\d+"
    r"|\d+_adapters|unet|vae|transformer(?:_\d+)?|text_encoder(?:_\d+)?|image_encoder|prior|decoder",
    re.IGNORECASE,
)


def local_name(path: Path, is_file: bool) -> tuple[str, bool]:
    """The name of a model, and whether the path tells it.

    ``x/model.gguf`` is x, ``x/checkpoint-500`` is x/checkpoint-500, and a folder of the Hub's
    cache is owner/name. The names that every model's files and folders have say nothing.

    Args:
        path: The model's folder, or the file it consists of; absolute.
        is_file: Whether it is a file.

    Returns:
        The name, and whether it comes from the file, its folder, or the folder around that
        (for a folder: from itself or the one around it). Otherwise the files' own metadata may
        know a better one.
    """
    for part in reversed(path.parts):
        if hub := _HUB_FOLDER.fullmatch(part):
            return hub["name"].replace("--", "/", 1), True
    steps = [path.with_name(_whole(path.stem)), *path.parents] if is_file else [path, *path.parents]
    edition, seen = "", 0
    for step in steps:
        name = step.name
        if not name or _LAYERS.fullmatch(name):
            continue
        if _EDITION.fullmatch(name):
            edition = f"/{name}{edition}"
        elif not _GENERIC.fullmatch(name) and step != Path.home():
            return name + edition, seen <= 1 + is_file
        seen += 1
    return (path.stem if is_file else path.name) or "model", False


def _whole(stem: str) -> str:
    """The name of a model in several files: that of any of its files without the number."""
    whole = _PART_OF.sub("", stem)
    shorter = _PART.sub("", whole)
    # llama-2 is no part.
    return shorter if _GENERIC.fullmatch(shorter) else whole
