"""Tokens that a mixture is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.config import EvaluateConfig
from mlx_probe.lab.evaluate.data import open_text

if TYPE_CHECKING:
    from mlx_probe.lab.generate.loading import LoadedModel

__all__ = ["text_rows"]


def text_rows(loaded: LoadedModel, data: str, tokens: int, window: int = 0) -> NDArray[np.int32]:
    """The first tokens of a text, as rows that the model sees at once.

    Args:
        loaded: Its tokenizer and context count.
        data: What `mlx-probe evaluate` takes: a source of text, or a folder of tokens.
        tokens: Tokens to predict. More than a row's become several rows, as many as are full.
        window: Tokens of a row at most; 0 for the context.

    Returns:
        (rows, length + 1): each row begins with the last token of the one before.

    Raises:
        ConfigError: The text is shorter.
        SourceError: There is no such text.
    """
    length = min(tokens, loaded.context or tokens, window or tokens)
    count = tokens // length
    found = open_text(loaded, data, EvaluateConfig(document="chunk", max_tokens=tokens)).tokens
    if len(found) <= count * length:
        raise ConfigError(
            f"{data} has {len(found)} tokens, too few for {count * length} + 1",
            "Give more text with --data, or fewer --tokens",
        )
    rows = [found[i * length : (i + 1) * length + 1] for i in range(count)]
    return np.stack(rows).astype(np.int32)
