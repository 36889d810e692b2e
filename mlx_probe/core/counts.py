"""Numbers of things in words: one row, two rows."""

from __future__ import annotations

from .language import tr

__all__ = ["rows_text", "runs_text", "tensors_text", "weights_text"]


def rows_text(count: int) -> str:
    """A number of rows in the reader's language."""
    return tr("1 row") if count == 1 else tr("{count} rows", count=f"{count:,}")


def runs_text(count: int) -> str:
    """A number of runs in the reader's language."""
    return tr("1 run") if count == 1 else tr("{count} runs", count=f"{count:,}")


def tensors_text(count: int) -> str:
    """A number of tensors in the reader's language."""
    return tr("1 tensor") if count == 1 else tr("{count} tensors", count=f"{count:,}")


def weights_text(count: int) -> str:
    """A number of weights in the reader's language."""
    return tr("1 weight") if count == 1 else tr("{count} weights", count=f"{count:,}")
