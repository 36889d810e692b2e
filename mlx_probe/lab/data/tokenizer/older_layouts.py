"""Tokenizers from before tokenizer.json, converted by transformers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import sha256_file
from mlx_probe.core.paths import cache_dir

__all__ = ["OLDER_FILES", "converted"]

# Of SentencePiece, GPT-2's BPE and WordPiece.
OLDER_FILES = ("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt")


def converted(folder: Path) -> Path:
    """A folder in the cache with the tokenizer in today's layout.

    Args:
        folder: Has some of `OLDER_FILES`. No code in it is run.

    Raises:
        SourceError: transformers does not know it, or the cache cannot be written.
    """
    digest = hashlib.sha256()
    try:
        for name in (*OLDER_FILES, "tokenizer_config.json", "config.json"):
            if (folder / name).is_file():
                digest.update(f"{name} {sha256_file(folder / name)}\n".encode())
        kept = cache_dir() / "tokenizers" / digest.hexdigest()
        if not (kept / "tokenizer.json").is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=".new-", dir=kept.parent) as scratch:
                new = Path(scratch) / "tokenizer"
                _convert(folder, new)
                new.replace(kept)
    except OSError as error:
        raise SourceError(
            f"cannot convert the tokenizer of {folder}: {error}",
            "Set MLX_PROBE_CACHE to a folder that can be written",
        ) from error
    return kept


def _convert(folder: Path, target: Path) -> None:
    from transformers import AutoTokenizer

    load, reason = AutoTokenizer.from_pretrained, "no tokenizer of these files is known"
    try:
        tokenizer = load(folder, local_files_only=True, trust_remote_code=False)
        tokenizer.save_pretrained(target)
    # Whatever its many readers raise.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
    if not (target / "tokenizer.json").is_file():
        raise SourceError(
            f"transformers cannot read the tokenizer of {folder}: {reason}",
            "Give a model with tokenizer.json",
        )
