"""The last reading: tokens of all documents into shards, and a journal to go on from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.files import LineWriter, whole_lines
from mlx_probe.core.machine import usable_cores
from mlx_probe.lab.data.census import Census
from mlx_probe.lab.data.corpus import Corpus
from mlx_probe.lab.data.encoding import token_dtype
from mlx_probe.lab.data.encoding_pool import Group, encode_groups
from mlx_probe.lab.data.manifest import SPLITS, SplitName
from mlx_probe.lab.data.progress import OnProgress, Progress
from mlx_probe.lab.data.reading import kept_documents
from mlx_probe.lab.data.selection import DROPPED, VALIDATION, Selection
from mlx_probe.lab.data.shards import ShardWriter
from mlx_probe.lab.data.workspace import JOURNAL, WORK

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["shard_corpus"]

# Bytes of text that a process encodes at a time, and groups between two lines of the journal.
_GROUP = 1 << 20
_COMMIT = 4
# Bytes of text for which another process is worth its start.
WORTH = 4 << 20


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
    tokenizer: Tokenizer,
    out: Path,
    shard_tokens: int,
    workers: int,
    report: OnProgress,
) -> dict[SplitName, ShardWriter]:
    """Write the shards; go on behind the last line of the journal.

    Args:
        corpus: The files.
        census: What they hold.
        selection: Which documents are kept.
        tokenizer: Encodes.
        out: The folder, whose tokenizer it is.
        shard_tokens: See `ShardWriter`.
        workers: Processes that encode; 0 for one for each core. A short text needs fewer.
        report: Told how far it is.

    Raises:
        SourceError: A file has changed since the census.
        ResultError: A process ended.
        OSError: The disk refused; what was written before stays.
    """
    path = out / WORK / JOURNAL
    mark, end = _last_mark(path)
    width = 2 if token_dtype(tokenizer.vocabulary) == "uint16" else 4
    done = {"train": mark.train, "validation": mark.validation}
    writers = {split: ShardWriter(out, split, width, shard_tokens, done[split]) for split in SPLITS}
    total = sum(selection.bytes.values())
    # A process takes a second to start.
    processes = min(workers or usable_cores(), (total - mark.bytes) // WORTH + 1)
    journal = LineWriter(path.open("ab", buffering=0), end)
    report(Progress("tokenize", mark.bytes, total))
    try:
        groups = _groups(corpus, census, selection, mark.documents)
        encoded = encode_groups(groups, tokenizer, processes)
        # Closed before the files: no process is left whatever happens.
        with closing(encoded):
            for number, (group, tokens) in enumerate(encoded, 1):
                writers["train"].append(tokens.train)
                writers["validation"].append(tokens.validation)
                train, validation = (writers[split].tokens for split in SPLITS)
                mark = _Mark(group.documents, mark.bytes + group.bytes, train, validation)
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


def _groups(corpus: Corpus, census: Census, selection: Selection, skip: int) -> Iterator[Group]:
    """Documents to encode, without the first `skip` of the corpus, which are done."""
    lengths = census.records()["bytes"]
    texts: list[str] = []
    is_validation: list[bool] = []
    size = 0
    for number, text, use in kept_documents(corpus, census, selection, skip):
        if use == DROPPED:
            continue
        texts.append(text)
        is_validation.append(use == VALIDATION)
        size += int(lengths[number])
        if size >= _GROUP:
            yield Group(number + 1, size, texts, is_validation)
            texts, is_validation, size = [], [], 0
    if texts:
        yield Group(census.documents, size, texts, is_validation)


def _last_mark(path: Path) -> tuple[_Mark, int]:
    """The last line of the journal, and where it ends in bytes."""
    mark, end = _Mark(), 0
    if path.exists():
        with path.open("rb") as file:
            for line in whole_lines(file):
                mark, end = _Mark(**json.loads(line)), end + len(line)
    return mark, end
