"""Mistral: llama.cpp runs it as Llama, which knows no sliding window."""

from __future__ import annotations

from mlx_probe.lab.export.gguf.architectures.architecture import (
    ATTENTION,
    FEED_FORWARD,
    Architecture,
    Config,
)
from mlx_probe.lab.export.gguf.shape import Shape

__all__ = ["MISTRAL", "window_note"]


def window_note(config: Config, shape: Shape) -> tuple[str, ...]:
    """What is lost of a sliding window."""
    # MistralConfig takes 4,096 for what is left out; a null is none.
    default = 4096 if shape.model_type == "mistral" else None
    window = config.get("sliding_window", default)
    if not isinstance(window, int) or window >= shape.context:
        return ()
    return (
        f"the model looks {window} tokens back; llama.cpp, like mlx-lm, looks at all tokens of "
        f"{shape.model_type}: up to {window} tokens both are the same",
    )


MISTRAL = Architecture(
    "llama",
    ATTENTION | FEED_FORWARD,
    interleaved=True,
    defaults={"num_key_value_heads": 8},
    notes=window_note,
)
