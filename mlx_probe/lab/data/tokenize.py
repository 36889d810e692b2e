"""Text to tokens on disk: `mlx-probe data tokenize`.

    files of all sources -> census: hash and length of each document      (first reading)
                         -> selection: duplicates, splits, sample
                         -> tokenizer, trained on the sample             (part of a reading)
                         -> tokens of each document, in shards           (last reading)
                         -> manifest.json

What is finished is in `DIR/.work`: after Ctrl-C, kill -9 or a full disk the same command goes on
from there, and the files have the same bytes as without the interruption, whatever the number of
processes.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_probe.core.errors import Interrupted
from mlx_probe.core.files import sha256_file, write_error
from mlx_probe.lab.data.census import Census, take_census
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.corpus import Corpus, open_corpus
from mlx_probe.lab.data.encoding import token_dtype
from mlx_probe.lab.data.job import monitored
from mlx_probe.lab.data.manifest import Manifest, SourceRecord, Split, SplitName
from mlx_probe.lab.data.progress import OnProgress, Progress, counted
from mlx_probe.lab.data.reading import kept_documents
from mlx_probe.lab.data.selection import SAMPLE, Selection, select_documents
from mlx_probe.lab.data.shard_corpus import shard_corpus
from mlx_probe.lab.data.workspace import WORK, only_one, prepare

if TYPE_CHECKING:
    from mlx_probe.runs.monitor.watch import WatchConfig
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["Progress", "tokenize"]

_log = logging.getLogger(__name__)


def tokenize(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    vocabulary: int,
    out: Path,
    on_progress: OnProgress | None = None,
    overwrite: bool = False,
    watch: WatchConfig | None = None,
    on_alert: Callable[[str, bool], None] | None = None,
    download: DownloadProgress | None = None,
) -> Manifest:
    """Turn text into shards of tokens; a folder that is finished already is read and returned.

    Args:
        data: The text.
        tokenizer: The tokenizer, trained on a part of the training documents, or an existing one.
        vocabulary: Tokens of the tokenizer; 0 for all of an existing one.
        out: The folder; see `Manifest`.
        on_progress: Called now and then.
        overwrite: Whether to replace tokens of other text or settings.
        watch: Rules on the machine's resources, and who may follow the job; None where it is a
            part of another job, which has a log and a monitor.
        on_alert: Told what the rules say, and whether it is a warning.
        download: Shows how far a download is; None for nothing.

    Raises:
        SourceError: A source is missing, empty, damaged, or changed meanwhile.
        ConfigError: The vocabulary does not fit the text.
        ResultError: `out` holds something else, another process works there, or the disk refuses.
        Interrupted: Ctrl-C was pressed; what is finished stays.
        Stopped: A rule ended the job; what is finished stays.
    """
    corpus = open_corpus(data.sources, data.document, data.text_column, data.validation, download)
    settings = _settings(data, tokenizer, vocabulary, corpus)
    work = out / WORK
    try:
        out.mkdir(parents=True, exist_ok=True)
        with only_one(out):
            finished = prepare(out, work, settings, corpus, overwrite)
            if finished is not None:
                return finished
            title = ", ".join(data.sources)
            with monitored(out, title, watch, on_progress, on_alert) as report:
                manifest = _run(corpus, data, tokenizer, vocabulary, settings, out, report)
                _log.info("written: %s", manifest.summary())
            shutil.rmtree(work)
            return manifest
    except OSError as error:
        raise write_error(Path(error.filename or out), error) from error
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; what is finished is kept in {work}",
            "Run the same command again to go on from there",
        ) from None


def _run(
    corpus: Corpus,
    data: DataConfig,
    config: TokenizerConfig,
    vocabulary: int,
    settings: dict[str, Any],
    out: Path,
    report: OnProgress,
) -> Manifest:
    from mlx_probe.lab.data.tokenizer import load_tokenizer, train_tokenizer

    work = out / WORK
    total = sum(file.stamp[0] for file in corpus.files)
    census = take_census(corpus, work, counted("read", total, report))
    selection = select_documents(census, work, data.validation, config.sample_bytes)
    folder, marker = out / "tokenizer", work / "tokenizer.done"
    if not marker.exists():
        wanted = min(config.sample_bytes, selection.bytes["train"])
        count = counted("train tokenizer", wanted, report)
        train_tokenizer(config, vocabulary, _sample(corpus, census, selection, count), folder)
        marker.touch()
    tokenizer = load_tokenizer(folder)
    writers = shard_corpus(
        corpus, census, selection, tokenizer, out, data.shard_tokens, data.workers, report
    )
    notes = [selection.note] * bool(selection.note)
    notes += _notes(corpus, census)
    if tokenizer.eos_id is None:
        notes.append("the tokenizer has no eos token: nothing stands between documents")
    if not tokenizer.exact_round_trip:
        notes.append("the tokenizer changes some texts: not every one comes back from its tokens")
    if tokenizer.vocabulary < vocabulary:
        notes.append(f"the tokenizer has {tokenizer.vocabulary} tokens of the {vocabulary} wanted")
    splits: dict[SplitName, Split] = {}
    size = sum(writer.tokens * writer.width for writer in writers.values())
    verified = counted("verify", size, report)
    for name, writer in writers.items():
        shards = writer.finish(verified)
        documents, length = selection.documents[name], selection.bytes[name]
        splits[name] = Split(documents, length, writer.tokens, shards)
    left_out: Counter[str] = Counter()
    for file in census.files:
        left_out.update(file.left_out)
    manifest = Manifest(
        settings=settings,
        sources=_sources(corpus, census),
        tokenizer={
            "vocabulary": tokenizer.vocabulary,
            "eos": tokenizer.eos_id,
            "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
        },
        dtype="uint16" if token_dtype(tokenizer.vocabulary) == "uint16" else "uint32",
        splits=splits,
        dropped={
            "duplicate": selection.duplicates,
            **{reason: left_out[reason] for reason in ("empty", "no text", "no column")},
        },
        notes=tuple(notes),
        exact_round_trip=tokenizer.exact_round_trip,
    )
    manifest.write(out)
    return manifest


def _sample(
    corpus: Corpus, census: Census, selection: Selection, count: Callable[[int], None]
) -> Iterator[str]:
    """The texts that a tokenizer is trained on, in the order of the corpus."""
    for _, text, use in kept_documents(corpus, census, selection, 0):
        if use == SAMPLE:
            yield text
            count(len(text.encode()))


def _settings(
    data: DataConfig, tokenizer: TokenizerConfig, vocabulary: int, corpus: Corpus
) -> dict[str, Any]:
    """What decides the tokens."""
    return {
        "sources": list(data.sources),
        "document": corpus.document,
        "text_column": data.text_column,
        "validation": data.validation,
        "shard_tokens": data.shard_tokens,
        "vocabulary": vocabulary,
        "tokenizer": json.loads(json.dumps(asdict(tokenizer))),
    }


def _notes(corpus: Corpus, census: Census) -> Iterator[str]:
    """Which files have records without text, and where."""
    for file, count in zip(corpus.files, census.files, strict=True):
        for reason, title in (("no text", "no text"), ("no column", f"no {corpus.column!r}")):
            if number := count.left_out.get(reason):
                first = count.first[reason]
                yield f"{file.path}: {number} records have {title}, the first is number {first}"


def _sources(corpus: Corpus, census: Census) -> tuple[SourceRecord, ...]:
    return tuple(
        SourceRecord(
            file.source, file.name, count.bytes, count.sha256, str(file.path), count.modified
        )
        for file, count in zip(corpus.files, census.files, strict=True)
    )
