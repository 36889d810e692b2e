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


def text_rows(
    loaded: LoadedModel, data: str, tokens: int, window: int = 0, skipped: int = 0
) -> NDArray[np.int32]:
    """Tokens of a text, as rows that the model sees at once.

    Args:
        loaded: Its tokenizer and context count.
        data: What `mlx-probe evaluate` takes: a source of text, or a folder of tokens.
        tokens: Tokens to predict. More than a row's become several rows, as many as are full.
        window: Tokens of a row at most; 0 for the context.
        skipped: Tokens at the beginning of the text that are left out.

    Returns:
        (rows, length + 1): each row begins with the last token of the one before.

    Raises:
        ConfigError: The text is shorter.
        SourceError: There is no such text.
    """
    length = min(tokens, loaded.context or tokens, window or tokens)
    count = tokens // length
    needed = skipped + count * length
    config = EvaluateConfig(document="chunk", max_tokens=skipped + tokens)
    found = open_text(loaded, data, config).tokens
    if len(found) <= needed:
        raise ConfigError(
            f"{data} has {len(found)} tokens, too few for {needed} + 1",
            "Give more text with --data, or fewer --tokens",
        )
    starts = range(skipped, needed, length)
    rows = [found[start : start + length + 1] for start in starts]
    return np.stack(rows).astype(np.int32)
