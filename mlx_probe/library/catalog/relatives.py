"""Other versions of a model: the same network in another format or precision."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlx_probe.core.formats import weight_suffixes
from mlx_probe.library.catalog.records import Model

__all__ = ["find_versions"]

# Words that publishers add to a model's name for its format and precision.
_STORAGE = re.compile(
    r"gguf|ggml|mlx|gptq|awq|exl2|hqq|bnb|int[48]|fp(4|8|16|32)|bf16|f16|f32|[2-8]-?bits?"
    r"|i?q\d(_[a-z0-9]+)*|[nm]xfp[48]|nvfp4|w\d+a\d+|dwq|imatrix|i1|quantized|quant|unquantized"
)
# Ways to count parameters (tied embeddings, buffers) differ by less.
_TOLERANCE = 0.02


def find_versions(model: Model, models: Iterable[Model]) -> list[tuple[Model, str]]:
    """Models of the catalog that seem to be the same network, each with the reason.

    Args:
        model: The model.
        models: All models of the catalog.

    Returns:
        Models with the same files, base model, name or shape, the smallest first. Missing models
        and adapters do not count.
    """
    versions = []
    for other in models:
        if other.key == model.key or other.missing or other.adapter or model.adapter:
            continue
        why = _why(model, other)
        if why:
            versions.append((other, why))
    return sorted(versions, key=lambda pair: (pair[0].size, pair[0].id, pair[0].key))


def _why(model: Model, other: Model) -> str:
    if not _agree(model, other):
        return ""
    mine, theirs = ({file.sha256 for file in m.weights} for m in (model, other))
    if mine == theirs and mine and "" not in mine:
        return "the same files"
    bases, others = ({base.lower() for base in m.base_models} for m in (model, other))
    if other.id.lower() in bases:
        return "this one names it as its base"
    if model.id.lower() in others:
        return "names this one as its base"
    if _stem(model.id) and _stem(model.id) == _stem(other.id):
        return "same name"
    if bases & others:
        return "same base"
    same = model.architecture and model.architecture == other.architecture
    if same and model.shape and dict(model.shape) == dict(other.shape):
        return "same architecture and shape"
    return ""


def _agree(model: Model, other: Model) -> bool:
    """Whether nothing that is known of both contradicts that they are one network."""
    if model.parameters and other.parameters:
        larger = max(model.parameters, other.parameters)
        if abs(model.parameters - other.parameters) > _TOLERANCE * larger:
            return False
    known = model.shape.keys() & other.shape.keys()
    return all(model.shape[name] == other.shape[name] for name in known - {"vocab_size"})


def _stem(name: str) -> str:
    """A model's name without its owner and without words for format and precision."""
    last = name.lower().rsplit("/", 1)[-1]
    end = next((suffix for suffix in weight_suffixes() if last.endswith(suffix)), "")
    last = last.removesuffix(end)
    repository, _, file = last.partition(":")
    # A file's name says more than the name of its repository.
    words = re.split(r"[-.\s_]+", re.sub(r"q\d(_[a-z0-9]+)+", "", file or repository))
    return "-".join(word for word in words if word and not _STORAGE.fullmatch(word))
