"""What an export takes and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Export", "Exported", "Format"]


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    Attributes:
        model: The reference that it was opened by.
        file: What was written: a file, or a folder.
        type: Type of the matrices in it.
        architecture: The name of the model's architecture there; for an adapter its kind.
        parameters: Numbers in it.
        tensors: Tensors in it.
        bytes: Size of the files with weights.
        tokenizer: The kind of its tokenizer, in the words of the format; None if it says nothing
            of it.
        vocabulary: Tokens; None likewise.
        notes: What the format cannot say as the model does.
    """

    model: str
    file: Path
    type: str
    architecture: str
    parameters: int
    tensors: int
    bytes: int
    tokenizer: str | None
    vocabulary: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Format:
    """A format of another program.

    Attributes:
        export: Writes it.
        types: Types of matrices that it takes, beside "auto".
    """

    export: Export
    types: tuple[str, ...]


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
            reference: A model reference, or the folder of a finished run.
            out: Where; a file that is there is replaced, a folder has to be empty.
            kind: Type of the matrices, one of `Format.types`; or "auto" for the one that they
                have.
            on_progress: Called with the bytes that are written, and all.

        Raises:
            ProbeError: The model cannot be read, the format has no place for it, or the disk
                refused; what was at ``out`` is still there.
        """
