"""A tokenizer in Hugging Face's layout, from the metadata of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint.formats.gguf import read_array
from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.lab.export.gguf.vocabulary.byte_level import PRE_TOKENIZERS

__all__ = ["write_tokenizer"]

# Types of tokens in `tokenizer.ggml.token_type`.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
# Where the tokenizer that the file was made from normalizes; llama.cpp does not.
_NORMALIZED = ("qwen2",)
# Keys of config.json and of tokenizer_config.json, by those of the file.
_ROLES = {
    "bos_token_id": ("bos_token_id", "bos_token"),
    "eos_token_id": ("eos_token_id", "eos_token"),
    "padding_token_id": ("pad_token_id", "pad_token"),
    "unknown_token_id": (None, "unk_token"),
}


def write_tokenizer(
    folder: Path, path: Path, metadata: Mapping[str, Any], size: int
) -> dict[str, int]:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja.

    Args:
        folder: Where.
        path: The GGUF file.
        metadata: Its metadata.
        size: Rows of the model's embedding.

    Returns:
        Ids of the tokens with a role, by the keys of config.json.

    Raises:
        CheckpointError: The tokenizer is of a kind that is not known here, or damaged.
        OSError: The disk refused.
    """
    kind, cut = (str(metadata.get(f"tokenizer.ggml.{key}")) for key in ("model", "pre"))
    if kind != "gpt2" or cut not in PRE_TOKENIZERS:
        raise CheckpointError(
            f"{path}: a tokenizer of kind {kind!r} with the cut {cut!r} is not read from GGUF",
            "Give the model that the GGUF was made from",
        )
    tokens, types, merges = (_array(path, key) for key in ("tokens", "token_type", "merges"))
    types = types or [1] * len(tokens)
    if len(tokens) > size or len(types) != len(tokens) or not merges:
        raise damaged(path, f"{len(tokens)} tokens, {len(types)} types, {len(merges)} merges")
    ids: dict[str, int] = {}
    names: dict[str, str] = {}
    for key, (id_key, name_key) in _ROLES.items():
        number = metadata.get(f"tokenizer.ggml.{key}")
        if type(number) is not int or not 0 <= number < len(tokens):
            continue
        names[name_key] = tokens[number]
        if id_key is not None:
            ids[id_key] = number
    first = ids.get("bos_token_id") if metadata.get("tokenizer.ggml.add_bos_token") else None
    described = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(number, tokens[number], kind == _CONTROL)
            for number, kind in enumerate(types)
            if kind in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": {"type": "NFC"} if cut in _NORMALIZED else None,
        "pre_tokenizer": _pre_tokenizer(cut),
        "post_processor": _post_processor(tokens, first),
        "decoder": _byte_level(True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": PRE_TOKENIZERS[cut].ignores_merges,
            "vocab": {
                token: number for number, token in enumerate(tokens) if types[number] != _UNUSED
            },
            "merges": merges,
        },
    }
    config = {
        **names,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(1e30),
    }
    _write(folder / "tokenizer.json", json.dumps(described, ensure_ascii=False))
    _write(folder / "tokenizer_config.json", json.dumps(config, ensure_ascii=False, indent=2))
    if template := metadata.get("tokenizer.chat_template"):
        _write(folder / "chat_template.jinja", str(template))
    return ids


def _array(path: Path, key: str) -> list[Any]:
    with path.open("rb") as file:
        return read_array(path, file, path.stat().st_size, f"tokenizer.ggml.{key}")


def _added(number: int, token: str, special: bool) -> dict[str, Any]:
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def _pre_tokenizer(cut: str) -> dict[str, Any]:
    """The steps of `PRE_TOKENIZERS` as tokenizer.json writes them."""
    steps: list[dict[str, Any]] = []
    for step in PRE_TOKENIZERS[cut].cuts:
        if step[0] == "Digits":
            steps.append({"type": "Digits", "individual_digits": True})
        elif step[0] == "Split":
            pattern = {"Regex": step[1]}
            steps.append(
                {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
            )
        else:
            steps.append(_byte_level(step[1] != ""))
    return {"type": "Sequence", "pretokenizers": steps}


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _post_processor(tokens: list[str], first: int | None) -> dict[str, Any] | None:
    """Puts the token that begins a text in front of it, where the file says so."""
    if first is None:
        return None
    name = tokens[first]
    begin = {"SpecialToken": {"id": name, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [begin, text],
        "pair": [begin, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [first], "tokens": [name]}},
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n" if path.suffix != ".jinja" else text, "utf-8")
