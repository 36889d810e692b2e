"""GGUF, the file format of llama.cpp: one file with shape, weights and tokenizer."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.export import export_gguf
from mlx_probe.lab.export.gguf.types import TYPES

__all__ = ["TYPES", "export_gguf"]
