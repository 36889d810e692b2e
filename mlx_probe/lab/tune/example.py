"""An example, all of them, and what is none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Example", "Examples", "Skipped"]


@dataclass(frozen=True)
class Example:
    """A conversation that is learned from.

    Attributes:
        id: Of the conversation, or its line.
        tokens: (T,), int32.
        learned: (T,), whether the assistant writes the token.
    """

    id: str
    tokens: NDArray[np.int32]
    learned: NDArray[np.bool_]

    @property
    def answer_tokens(self) -> int:
        """Tokens that the assistant writes; the first of a text is predicted by nothing."""
        return int(self.learned[1:].sum())


@dataclass(frozen=True)
class Skipped:
    """A conversation, or a part of one, that is not learned as it is.

    Attributes:
        file: Its file.
        line: Its line, from 1.
        id: Of the conversation; "" where it cannot be read.
        reason: Why; the same words for the same reason.
        tokens: Its tokens; 0 where it has none.
        detail: What is wrong in this line.
    """

    file: str
    line: int
    id: str
    reason: str
    tokens: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Examples:
    """The examples of both splits.

    Attributes:
        train: To learn from.
        valid: To evaluate with.
        skipped: What is left out or cut.
        max_tokens: Longest that an example may be.
        folder: Where they are from.
    """

    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    skipped: tuple[Skipped, ...]
    max_tokens: int
    folder: Path

    def fingerprint(self) -> str:
        """SHA-256 of all tokens and of what is learned."""
        digest = hashlib.sha256()
        for split in (self.train, self.valid):
            for example in split:
                digest.update(example.tokens.tobytes() + b"|" + example.learned.tobytes() + b"\n")
            digest.update(b"--\n")
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Counts, for the metadata."""
        reasons = Counter((each.file, each.reason) for each in self.skipped)
        return {
            "sources": [str(self.folder)],
            "fingerprint": self.fingerprint(),
            "max_tokens": self.max_tokens,
            "splits": {"train": _counts(self.train), "validation": _counts(self.valid)},
            "skipped": [
                {"file": file, "reason": reason, "count": count}
                for (file, reason), count in sorted(reasons.items())
            ],
        }


def _counts(split: Sequence[Example]) -> dict[str, int]:
    return {
        "examples": len(split),
        "tokens": sum(len(example.tokens) for example in split),
        "answer_tokens": sum(example.answer_tokens for example in split),
        "longest": max((len(example.tokens) for example in split), default=0),
    }
