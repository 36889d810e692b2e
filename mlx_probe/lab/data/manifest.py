"""What a folder of tokens holds: `manifest.json`, written last.

    DIR/manifest.json         this record
    DIR/tokenizer/            the tokenizer's files
    DIR/train-00000.bin       tokens, little-endian, back to back; every document ends with eos
    DIR/validation-00000.bin

A folder without a manifest is unfinished. Times of day are not in it: the same text, tokenizer and
settings give the same file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlx_probe.core.errors import ResultError, SourceError
from mlx_probe.core.files import replacing, sha256_file

__all__ = ["MANIFEST", "SPLITS", "Manifest", "Shard", "SourceRecord", "Split", "SplitName"]

MANIFEST = "manifest.json"
SplitName = Literal["train", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "validation")

_VERSION = 1
_AGAIN = "Tokenize the text again with `mlx-probe data tokenize` and --overwrite"


@dataclass(frozen=True)
class Shard:
    """One file of tokens.

    Attributes:
        file: Its name in the folder.
        tokens: Tokens in it.
        sha256: Of its bytes.
    """

    file: str
    tokens: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """The documents for training, or those for validation.

    Attributes:
        documents: Documents.
        bytes: Bytes of their text in UTF-8.
        tokens: Their tokens, with the eos token behind each document.
        shards: The files, in order.
    """

    documents: int
    bytes: int
    tokens: int
    shards: tuple[Shard, ...]

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text that a token stands for, on average."""
        return self.bytes / self.tokens if self.tokens else 0.0


@dataclass(frozen=True)
class SourceRecord:
    """A file that was read.

    Attributes:
        source: The source as it was named.
        file: Its name within the source.
        bytes: Its length as stored.
        sha256: Of its bytes as stored.
        path: Where it was; None if it is kept by this program's or the Hub's cache.
        modified: When it was written, in nanoseconds; without a meaning elsewhere.
    """

    source: str
    file: str
    bytes: int
    sha256: str
    path: str | None = None
    modified: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What a folder of tokens holds.

    Attributes:
        settings: The settings that decide the tokens.
        sources: The files that were read, in order.
        tokenizer: "vocabulary", "eos" (id, or None), "files" (name to SHA-256).
        dtype: "uint16" or "uint32".
        splits: By name: "train" and "validation".
        dropped: Documents that are in no split, by reason: "empty", "duplicate", "no text" (a row
            whose text is null).
        notes: What a reader should know about the splits.
        exact_round_trip: Whether a sample of difficult texts comes back from its tokens; see
            `Tokenizer.exact_round_trip`.
    """

    settings: Mapping[str, Any]
    sources: tuple[SourceRecord, ...]
    tokenizer: Mapping[str, Any]
    dtype: Literal["uint16", "uint32"]
    splits: Mapping[SplitName, Split]
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    exact_round_trip: bool = True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what a model sees: the shards and the tokenizer."""
        content = [[shard.sha256 for shard in self.splits[name].shards] for name in SPLITS]
        text = json.dumps([content, self.dtype, self.tokenizer], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """All of it, and what follows from it, for JSON."""
        described = asdict(self)
        for name, split in self.splits.items():
            described["splits"][name]["bytes_per_token"] = round(split.bytes_per_token, 4)
        return {"version": _VERSION, "fingerprint": self.fingerprint, **described}

    def summary(self) -> dict[str, Any]:
        """What a run's metadata says about its text."""
        splits = {
            name: {
                "documents": split.documents,
                "bytes": split.bytes,
                "tokens": split.tokens,
                "bytes_per_token": round(split.bytes_per_token, 4),
            }
            for name, split in self.splits.items()
        }
        return {
            "fingerprint": self.fingerprint,
            "sources": list(self.settings.get("sources", ())),
            "vocabulary": self.tokenizer["vocabulary"],
            "splits": splits,
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
            "exact_round_trip": self.exact_round_trip,
        }

    def write(self, folder: Path) -> None:
        """Write `manifest.json` in one step.

        Raises:
            ResultError: The disk refused.
        """
        with replacing(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.describe(), indent=1) + "\n", "utf-8")

    @classmethod
    def read(
        cls,
        folder: Path,
        verify: bool = True,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> Manifest:
        """Read a folder's manifest, and check that the files are those that were written.

        Args:
            folder: See the module.
            verify: Whether the content of the files is hashed, too; their lengths always count.
            on_bytes: Called with the length of each piece that was hashed.

        Raises:
            ResultError: No manifest, or a file that is missing, damaged or another one.
        """
        path = folder / MANIFEST
        try:
            manifest = _from_json(json.loads(path.read_text("utf-8")))
        except FileNotFoundError as error:
            raise ResultError(
                f"{folder} holds no tokens: it has no {MANIFEST}",
                "Write it with `mlx-probe data tokenize SOURCE --out DIR`; the same command goes "
                "on where it was interrupted",
            ) from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ResultError(f"cannot read {path}: {error}", _AGAIN) from error
        manifest._check_files(folder, verify, on_bytes)
        return manifest

    def refuse_changed_sources(self) -> None:
        """Refuse text that has changed since it was tokenized.

        Sources that are no longer on this machine are not missed: the tokens do without them.

        Raises:
            SourceError: A file has another content.
        """
        for source in self.sources:
            if source.path is None:
                continue
            path = Path(source.path)
            try:
                status = path.stat()
                same = status.st_size == source.bytes and (
                    status.st_mtime_ns == source.modified or sha256_file(path) == source.sha256
                )
            except OSError:
                continue
            if not same:
                raise SourceError(
                    f"{path} has changed since it was tokenized",
                    "Tokenize the text again with --overwrite, or restore the file",
                )

    def _check_files(self, folder: Path, verify: bool, on_bytes: Callable[[int], None]) -> None:
        width = 2 if self.dtype == "uint16" else 4
        shards = [shard for name in SPLITS for shard in self.splits[name].shards]
        expected = {folder / shard.file: shard.sha256 for shard in shards}
        sizes = {folder / shard.file: shard.tokens * width for shard in shards}
        files = {folder / "tokenizer" / n: h for n, h in self.tokenizer["files"].items()}
        for path, digest in {**expected, **files}.items():
            try:
                size = path.stat().st_size
                if size != sizes.get(path, size):
                    raise ResultError(f"{path} has {size} bytes, not {sizes[path]}", _AGAIN)
                # The tokenizer's files are small, and people edit them.
                if (verify or path in files) and sha256_file(path, on_bytes) != digest:
                    raise ResultError(f"{path} was changed after it was written", _AGAIN)
            except OSError as error:
                raise ResultError(f"cannot read {path}: {error.strerror}", _AGAIN) from error


def _from_json(entry: Any) -> Manifest:
    if entry["version"] != _VERSION:
        raise ValueError(f"version {entry['version']}, this program reads {_VERSION}")
    splits: dict[SplitName, Split] = {}
    for name in SPLITS:
        stored = entry["splits"][name]
        shards = tuple(Shard(**shard) for shard in stored["shards"])
        splits[name] = Split(stored["documents"], stored["bytes"], stored["tokens"], shards)
        if sum(shard.tokens for shard in shards) != stored["tokens"]:
            raise ValueError(f"the shards of {name} do not add up")
    if entry["dtype"] not in ("uint16", "uint32"):
        raise ValueError(f"dtype {entry['dtype']!r}")
    if any("/" in shard.file for split in splits.values() for shard in split.shards):
        raise ValueError("a shard lies in another folder")
    return Manifest(
        settings=entry["settings"],
        sources=tuple(SourceRecord(**source) for source in entry["sources"]),
        tokenizer={key: entry["tokenizer"][key] for key in ("vocabulary", "eos", "files")},
        dtype=entry["dtype"],
        splits=splits,
        dropped=entry["dropped"],
        notes=tuple(entry["notes"]),
        exact_round_trip=entry["exact_round_trip"],
    )
