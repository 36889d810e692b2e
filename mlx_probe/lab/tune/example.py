"""An example, all of them, and what is none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Example", "Examples", "Skipped", "summary"]


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

    @property
    def bounds(self) -> Sequence[Example]:
        """What memory has to be there for."""
        return self.train

    @property
    def mean_tokens(self) -> float:
        """Tokens that are read of an example."""
        return sum(len(each.tokens) - 1 for each in self.train) / len(self.train)

    def summary(self) -> dict[str, Any]:
        """Counts, for the metadata."""
        splits = {"train": _counts(self.train), "validation": _counts(self.valid)}
        return summary(self.folder, self.fingerprint(), self.max_tokens, splits, self.skipped)


def summary(
    folder: Path,
    fingerprint: str,
    max_tokens: int,
    splits: Mapping[str, Mapping[str, int]],
    skipped: Sequence[Skipped],
) -> dict[str, Any]:
    """The metadata's key "data".

    Args:
        folder: Of the conversations.
        fingerprint: Of what is used of them.
        max_tokens: Longest that an example may be.
        splits: Counts by split.
        skipped: What is left out or cut.
    """
    reasons = Counter((each.file, each.reason) for each in skipped)
    return {
        "sources": [str(folder)],
        "fingerprint": fingerprint,
        "max_tokens": max_tokens,
        "splits": splits,
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
