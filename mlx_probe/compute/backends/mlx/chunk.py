"""Stored words in MLX's memory."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

__all__ = ["DeviceChunk"]


@dataclass(frozen=True)
class DeviceChunk:
    """Stored words and their values in MLX's memory.

    Attributes:
        stored: Words as in the file.
        values: The elements as float32 (exact for every type that is loaded here).
    """

    stored: mx.array
    values: mx.array

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.values.size
