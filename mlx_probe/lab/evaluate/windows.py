"""Windows of a long sequence of tokens: what a model sees, and which tokens are scored there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["Window", "windows"]


@dataclass(frozen=True)
class Window:
    """A stretch of tokens.

    Attributes:
        start: First token that the model sees.
        stop: Behind the last token that is predicted.
        scored: First token that is scored; those before it are only seen.
    """

    start: int
    stop: int
    scored: int


def windows(tokens: int, context: int, stride: int, tail: bool) -> Iterator[Window]:
    """Windows that score each token but the first once.

    With ``stride`` = ``context`` each window begins at the last token of the one before, as in
    training: a token near the beginning of a window is predicted from few tokens. A smaller
    stride gives every token at least ``context - stride`` tokens to be predicted from, and costs
    ``context / stride`` times the work.

    Args:
        tokens: Length of the sequence.
        context: Tokens that the model sees at most.
        stride: Between the beginnings of two windows; 1 to ``context``.
        tail: Whether the end that fills no window gets a shorter one, or one that overlaps more.

    Raises:
        ConfigError: The sequence has no window.
    """
    if tokens < 2 or (not tail and tokens <= context):
        raise ConfigError(
            f"the text has {tokens} tokens, too few for a window of {context} + 1"
            if tokens > 1
            else f"the text has {tokens} tokens, and the first one is not predicted",
            "Give more text, or a smaller --context",
        )
    scored, start = 1, 0
    while start + context < tokens:
        yield Window(start, start + context + 1, scored)
        scored = start + context + 1
        start += stride
    if tail and scored < tokens:
        # As far back as the stride allows.
        yield Window(max(scored - 1 - (context - stride), 0), tokens, scored)
