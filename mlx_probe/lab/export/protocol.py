"""What an export takes and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Export", "Exported"]


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    Attributes:
        model: The reference that it was opened by.
        file: What was written.
        type: Type of the matrices in it.
        architecture: The name of the model's architecture there.
        parameters: Numbers in it.
        tensors: Tensors in it.
        bytes: Size of the file.
        tokenizer: The kind of its tokenizer, in the words of the format.
        vocabulary: Tokens.
        notes: What the format cannot say as the model does.
    """

    model: str
    file: Path
    type: str
    architecture: str
    parameters: int
    tensors: int
    bytes: int
    tokenizer: str
    vocabulary: int
    notes: tuple[str, ...]


class Export(Protocol):
    """Writes a model in another format."""

    def __call__(
        self,
        reference: str,
        out: Path,
        kind: str = "auto",
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Exported:
        """Write a model, whole or not at all.

        Args:
            reference: A model reference, or the folder of a finished training run.
            out: Where; what is there is replaced.
            kind: Type of the matrices, or "auto" for the one that they have.
            on_progress: Called with the bytes that are written, and all.

        Raises:
            ProbeError: The model cannot be read, the format has no place for it, or the disk
                refused; what was at ``out`` is still there.
        """
