"""Which documents are kept, and for what: duplicates dropped, the rest split by their hashes.

A document's hash alone says whether it is for validation, so that the same document is never in
both splits, and stays where it is when others are added to the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import atomic_replace
from mlx_probe.lab.data.census import Census
from mlx_probe.lab.data.manifest import SPLITS, SplitName

__all__ = ["DROPPED", "SAMPLE", "TRAIN", "VALIDATION", "Selection", "select_documents"]

# What becomes of a document. Those of the sample are for training, too.
DROPPED, TRAIN, VALIDATION, SAMPLE = range(4)

# Documents that are sorted at a time; they take some 50 bytes each.
_RANGE = 2_000_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Selection:
    """What becomes of the documents of a corpus.

    Attributes:
        path: A file with one byte for each document, in the order of the corpus.
        documents: Documents that are kept, by split.
        bytes: Bytes of their text.
        duplicates: Documents that are equal to an earlier one.
        note: What was done so that no split is empty; "" if nothing.
    """

    path: Path
    documents: dict[SplitName, int]
    bytes: dict[SplitName, int]
    duplicates: int
    note: str = ""

    def uses(self) -> NDArray[np.uint8]:
        """What becomes of each document, mapped into memory."""
        return np.memmap(self.path, np.uint8, "r")


def select_documents(
    census: Census, folder: Path, validation: float, sample_bytes: int
) -> Selection:
    """Decide what becomes of each document.

    Memory is bounded for any number of documents: one range of hashes after the other is sorted.

    Args:
        census: Hash and length of every document.
        folder: Where `uses.bin` goes.
        validation: Share of the documents for validation: those whose hash, read as a number from
            0 to 1, is below it. Where that leaves a split empty, the document with the smallest
            hash is for validation, or the one with the largest hash for training.
        sample_bytes: Bytes of text that a tokenizer is trained on: the training documents with
            the smallest hashes, at least one.

    Raises:
        SourceError: There are no two different documents.
        OSError: The disk refused.
    """
    records, path = census.records(), folder / "uses.bin"
    limit, note = _split_at(records, validation)
    documents, lengths = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    with atomic_replace(path) as temporary:
        uses = np.memmap(temporary, np.uint8, "w+", shape=records.shape)
        for indices, highs, sizes in _by_hash(records):
            held, train = highs < limit, highs >= limit
            # Bytes of the sample before each document.
            before = lengths["train"] + np.cumsum(sizes[train]) - sizes[train]
            uses[indices[held]] = VALIDATION
            uses[indices[train]] = np.where(before < sample_bytes, SAMPLE, TRAIN)
            parts: tuple[tuple[SplitName, NDArray[np.bool_]], ...]
            parts = (("train", train), ("validation", held))
            for split, part in parts:
                documents[split] += int(part.sum())
                lengths[split] += int(sizes[part].sum())
        uses.flush()
        del uses
    duplicates = len(records) - sum(documents.values())
    return Selection(path, documents, lengths, duplicates, note)


def _split_at(records: NDArray[Any], validation: float) -> tuple[np.uint64, str]:
    """The hash from which documents are for training, and a note if it is not the share's."""
    limit = int(validation * 2.0**64)
    low, high = 2**64, -1
    for block in _blocks(records):
        low, high = min(low, int(block["high"].min())), max(high, int(block["high"].max()))
    if high < 0:
        raise SourceError(
            "the text is empty: no file has a document that is more than blanks",
            "Give files that hold text",
        )
    if low == high:
        raise SourceError(
            "the text is one document, and training and validation need one each",
            "Cut it with data.document=chunk, paragraph or line, or add text",
        )
    if low >= limit:
        return np.uint64(low + 1), (
            f"no document's hash is below {validation}: the smallest one is for validation"
        )
    if high < limit:
        return np.uint64(high), (
            f"all documents' hashes are below {validation}: the largest one is for training"
        )
    return np.uint64(limit), ""


def _by_hash(
    records: NDArray[Any],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]]:
    """Index, hash and bytes of the first of equal documents, in the order of their hashes."""
    ranges = -(-len(records) // _RANGE)
    edges = [number * 2**64 // ranges for number in range(ranges)] + [2**64 - 1]
    for low, high in pairwise(edges):
        parts = []
        for number, block in enumerate(_blocks(records)):
            key = block["high"].astype(np.uint64)
            inside = (key >= np.uint64(low)) & (key < np.uint64(high))
            if high == edges[-1]:
                inside |= key == np.uint64(high)
            found = np.flatnonzero(inside)
            parts.append((found + number * _BLOCK, block[found]))
        indices = np.concatenate([indices for indices, _ in parts])
        chosen = np.concatenate([block for _, block in parts])
        highs, lows = chosen["high"].astype(np.uint64), chosen["low"].astype(np.uint64)
        # Stable: of equal documents the first of the corpus comes first.
        order = np.lexsort((lows, highs))
        highs, lows = highs[order], lows[order]
        first = np.ones(len(order), bool)
        first[1:] = (highs[1:] != highs[:-1]) | (lows[1:] != lows[:-1])
        kept = order[first]
        yield indices[kept], highs[first], chosen["bytes"][kept].astype(np.int64)


def _blocks(records: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(records), _BLOCK):
        yield records[start : start + _BLOCK]
