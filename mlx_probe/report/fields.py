"""Fields of metadata with their values as one text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated

__all__ = ["architecture_text", "pairs_text"]


def pairs_text(known: Mapping[str, Any]) -> str:
    """Names and values; what is not known is left out.

    Args:
        known: By names with underscores, which stay English: they are those of settings.
    """
    return enumerated(f"{_spaced(name)} {value}" for name, value in _given(known).items())


def architecture_text(known: Mapping[str, Any]) -> str:
    """The shape of a network in the reader's language.

    Args:
        known: As `Architecture.describe` gives it.
    """
    names = {
        "model_type": tr("model type"),
        "layers": tr("layers"),
        "hidden_size": tr("hidden size"),
        "heads": tr("heads"),
        "kv_heads": tr("kv heads"),
        "head_dim": tr("head dim"),
        "intermediate_size": tr("intermediate size"),
        "moe_intermediate_size": tr("moe intermediate size"),
        "experts": tr("experts"),
        "vocab_size": tr("vocab size"),
    }
    given = _given(known)
    return enumerated(f"{names.get(name, _spaced(name))} {given[name]}" for name in given)


def _given(known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in known.items() if value not in (None, [], ())}


def _spaced(name: str) -> str:
    return name.replace("_", " ")
