"""Tokenizers: trained on a text, or existing ones; the same ids as transformers and mlx-lm."""

from __future__ import annotations

from mlx_probe.lab.data.tokenizer.existing import load_tokenizer
from mlx_probe.lab.data.tokenizer.tokenizer import TOKENIZER_FILES, Tokenizer
from mlx_probe.lab.data.tokenizer.train import train_tokenizer

__all__ = ["TOKENIZER_FILES", "Tokenizer", "load_tokenizer", "train_tokenizer"]
