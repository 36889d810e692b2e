"""Byte-level byte pair encoding: tokens, merges, and the expression that cuts text first.

llama.cpp knows such expressions by name (`llama_vocab::impl::load` and
`llm_tokenizer_bpe`); a file cannot bring its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.lab.export.gguf.vocabulary.vocabulary import Core

__all__ = ["PRE_TOKENIZERS", "PreTokenizer", "is_byte_level", "read"]

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


@dataclass(frozen=True)
class PreTokenizer:
    """A way to cut text that llama.cpp knows.

    Attributes:
        cuts: The steps in tokenizer.json, see `_steps`.
        ignores_merges: Whether a word that is a token is that token, whatever its merges say.
    """

    cuts: tuple[tuple[str, ...], ...]
    ignores_merges: bool = False


# By the value of `tokenizer.ggml.pre`.
PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": PreTokenizer((("ByteLevel", "GPT-2"),)),
    "smollm": PreTokenizer((("Digits",), ("ByteLevel", "GPT-2"))),
    "qwen2": PreTokenizer((("Split", _QWEN2), ("ByteLevel", ""))),
    "llama-bpe": PreTokenizer((("Split", _LLAMA3), ("ByteLevel", "")), ignores_merges=True),
}
_NFC = (
    "llama.cpp does not normalize text: what is not in Unicode's NFC gets other ids there than "
    "from tokenizer.json"
)


def is_byte_level(described: Mapping[str, Any]) -> bool:
    """Whether the tokens of a tokenizer are spelled in bytes."""
    steps = _parts(described.get("pre_tokenizer"), "pretokenizers")
    return any(step.get("type") == "ByteLevel" for step in steps)


def read(path: Path, described: Mapping[str, Any]) -> Core:
    """Tokens, merges and the name of the cut.

    Args:
        path: tokenizer.json.
        described: Its content.

    Raises:
        CheckpointError: llama.cpp would give other ids.
    """
    from gguf import TokenType

    model = described["model"]
    unknown = [key for key in ("continuing_subword_prefix", "end_of_word_suffix") if model.get(key)]
    if unknown or model.get("dropout"):
        raise _other(path, f"model.{(unknown or ['dropout'])[0]} is set")
    pre = _pre_tokenizer(path, described)
    normalizers = _parts(described.get("normalizer"), "normalizers")
    if any(each.get("type") != "NFC" for each in normalizers):
        raise _other(path, f"the normalizer is {described['normalizer']}")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    if not merges:
        raise _other(path, "there are no merges")
    added = {token["id"] for token in described.get("added_tokens", ())}
    by_id = {number: token for token, number in model["vocab"].items()}
    # Added tokens may lie in between, and are named later.
    count = max(by_id, default=-1) + 1
    if gap := next((i for i in range(count) if i not in by_id and i not in added), None):
        raise damaged(path, f"no token has the id {gap}")
    return Core(
        model="gpt2",
        pre=pre,
        tokens=[by_id.get(i, "") for i in range(count)],
        types=[TokenType.NORMAL] * count,
        merges=merges,
        notes=(_NFC,) if normalizers else (),
    )


def _pre_tokenizer(path: Path, described: Mapping[str, Any]) -> str:
    steps = tuple(map(_step, _parts(described.get("pre_tokenizer"), "pretokenizers")))
    ignores = bool(described["model"].get("ignore_merges"))
    for name, known in PRE_TOKENIZERS.items():
        if known.cuts == steps and known.ignores_merges == ignores:
            return name
    raise _other(path, f"text is cut by {described.get('pre_tokenizer')}")


def _step(part: Mapping[str, Any]) -> tuple[str, ...]:
    """What decides the cuts of a step; whatever else it has makes it another one."""
    kind = str(part.get("type"))
    if kind == "ByteLevel" and not part.get("add_prefix_space"):
        # Files older than `use_regex` mean true. `trim_offsets` changes no id.
        return (kind, "GPT-2" if part.get("use_regex", True) else "")
    if kind == "Digits" and part.get("individual_digits"):
        return (kind,)
    if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
        return (kind, str(part.get("pattern", {}).get("Regex")))
    return (kind, str(dict(part)))


def _parts(part: Mapping[str, Any] | None, inside: str) -> list[Mapping[str, Any]]:
    """A step, or the steps of a sequence."""
    if not part:
        return []
    return list(part[inside]) if part.get("type") == "Sequence" else [part]


def _other(path: Path, fact: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {fact}: llama.cpp would give other ids",
        f"Give a tokenizer with a cut of {', '.join(PRE_TOKENIZERS)}, which llama.cpp knows",
    )
