"""Gradient checkpointing: blocks are computed again in the backward pass.

mlx-lm changes the class of the blocks, and with it every model of that class in the process; here
it is this model alone.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

__all__ = ["checkpoint_blocks"]


def checkpoint_blocks(model: nn.Module) -> None:
    """Keep the activations of one block at a time, from now on.

    Args:
        model: Of mlx-lm, or a `MiniLLM`.
    """
    for block in model.layers:
        plain: Any = type(block)
        block.__class__ = _checkpointed(plain)


def _checkpointed(plain: Any) -> Any:
    class Checkpointed(plain):
        """The block; its class stays what it was by name."""

        def __call__(self, *arguments: Any, **settings: Any) -> Any:
            if not self.training:
                return plain.__call__(self, *arguments, **settings)

            def inner(parameters: Any, *arguments: Any, **settings: Any) -> Any:
                self.update(parameters)
                return plain.__call__(self, *arguments, **settings)

            return mx.checkpoint(inner)(self.trainable_parameters(), *arguments, **settings)

    Checkpointed.__name__, Checkpointed.__qualname__ = plain.__name__, plain.__qualname__
    return Checkpointed
