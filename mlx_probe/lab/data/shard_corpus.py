"""The last reading: tokens of all documents into shards, and a journal to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mlx_probe.core.files import LineWriter, whole_lines
from mlx_probe.lab.data.census import Census
from mlx_probe.lab.data.corpus import Corpus
from mlx_probe.lab.data.encoding import Encodes, encode_group, token_dtype
from mlx_probe.lab.data.manifest import SPLITS, SplitName
from mlx_probe.lab.data.progress import OnProgress, Progress
from mlx_probe.lab.data.reading import kept_documents
from mlx_probe.lab.data.selection import DROPPED, VALIDATION, Selection
from mlx_probe.lab.data.shards import ShardWriter
from mlx_probe.lab.data.workspace import JOURNAL, WORK

__all__ = ["shard_corpus"]

# Bytes of text that a process encodes at a time, and groups between two lines of the journal.
_GROUP = 1 << 20
_COMMIT = 4


@dataclass(frozen=True)
class _Mark:
    """A line of the journal: how far the last reading is.

    Attributes:
        documents: Documents of the corpus, those that are dropped included.
        bytes: Bytes of their text.
        train: Tokens for training.
        validation: Tokens for validation.
    """

    documents: int = 0
    bytes: int = 0
    train: int = 0
    validation: int = 0


def shard_corpus(
    corpus: Corpus,
    census: Census,
    selection: Selection,
    tokenizer: Encodes,
    shard_tokens: int,
    out: Path,
    report: OnProgress,
) -> dict[SplitName, ShardWriter]:
    """Write the shards; go on behind the last line of the journal."""
    path = out / WORK / JOURNAL
    mark, end = _last_mark(path)
    width = 2 if token_dtype(tokenizer.vocabulary) == "uint16" else 4
    done = {"train": mark.train, "validation": mark.validation}
    writers = {split: ShardWriter(out, split, width, shard_tokens, done[split]) for split in SPLITS}
    total = sum(selection.bytes.values())
    journal = LineWriter(path.open("ab", buffering=0), end)
    report(Progress("tokenize", mark.bytes, total))
    try:
        groups = _groups(corpus, census, selection, mark.documents)
        for number, (documents, texts, is_validation) in enumerate(groups, 1):
            encoded = encode_group(tokenizer, texts, is_validation)
            writers["train"].append(encoded.train)
            writers["validation"].append(encoded.validation)
            mark = _Mark(
                documents,
                mark.bytes + sum(len(text.encode()) for text in texts),
                writers["train"].tokens,
                writers["validation"].tokens,
            )
            if number % _COMMIT == 0:
                for writer in writers.values():
                    writer.flush()
                journal.append(json.dumps(asdict(mark)))
            report(Progress("tokenize", mark.bytes, total))
        for writer in writers.values():
            writer.flush()
    finally:
        journal.close()
        for writer in writers.values():
            writer.close()
    return writers


def _groups(
    corpus: Corpus, census: Census, selection: Selection, skip: int
) -> Iterator[tuple[int, list[str], list[bool]]]:
    """Documents to encode, in groups of about `_GROUP` bytes.

    Args:
        corpus: The files.
        census: What they hold.
        selection: Which documents are kept.
        skip: Documents at the beginning of the corpus that are done.

    Yields:
        Documents of the corpus up to the end of the group, and the texts of those that are kept
        with whether each is for validation.
    """
    texts: list[str] = []
    is_validation: list[bool] = []
    size = number = 0
    for number, text, use in kept_documents(corpus, census, selection, skip):
        if use == DROPPED:
            continue
        texts.append(text)
        is_validation.append(use == VALIDATION)
        size += len(text)
        if size >= _GROUP:
            yield number + 1, texts, is_validation
            texts, is_validation, size = [], [], 0
    if texts:
        yield census.documents, texts, is_validation


def _last_mark(path: Path) -> tuple[_Mark, int]:
    """The last line of the journal, and where it ends in bytes."""
    mark, end = _Mark(), 0
    if path.exists():
        with path.open("rb") as file:
            for line in whole_lines(file):
                mark, end = _Mark(**json.loads(line)), end + len(line)
    return mark, end
