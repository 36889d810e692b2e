"""Tokens with a role, and whether a tokenizer puts them around a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged, unreadable
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.export.gguf.vocabulary.vocabulary import Ends

__all__ = ["read_ends"]


def read_ends(tokenizer: Tokenizer, path: Path, model: Path) -> Ends:
    """Begin, end and padding.

    Args:
        tokenizer: The tokenizer.
        path: tokenizer.json.
        model: The folder with config.json and generation_config.json.

    Raises:
        CheckpointError: There is no end token, or the tokenizer puts others around a text than
            a GGUF file can say.
    """
    stops = [*tokenizer.stop_ids, *_stops(model)]
    if not stops:
        # Without one, llama.cpp would end at token 2 or 11, whatever that is.
        raise CheckpointError(
            f"{path}: no token ends a text",
            "Write eos_token into tokenizer_config.json, or eos_token_id into config.json",
        )
    eos = stops[0]
    bos = eos if tokenizer.bos_id is None else tokenizer.bos_id
    before, behind = _around(path)
    if before not in ([], [bos]) or behind not in ([], [eos]):
        raise CheckpointError(
            f"{path}: the tokenizer puts the tokens {before} before a text and {behind} behind "
            f"it; a GGUF file can put {bos} and {eos}",
            "Change bos_token or post_processor of the tokenizer",
        )
    others = [number for number in stops if number != eos]
    return Ends(
        bos=bos,
        eos=eos,
        eot=others[0] if others else None,
        pad=tokenizer.pad_id,
        adds_bos=bool(before),
        adds_eos=bool(behind),
    )


def _around(path: Path) -> tuple[list[int], list[int]]:
    """What is put before and behind a text."""
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(str(path))
    plain = backend.encode("a", add_special_tokens=False).ids
    ids = backend.encode("a", add_special_tokens=True).ids
    start = next(i for i in range(len(ids)) if ids[i : i + len(plain)] == plain)
    return ids[:start], ids[start + len(plain) :]


def _stops(model: Path) -> list[int]:
    stops: list[int] = []
    for name in ("generation_config.json", "config.json"):
        value = _read(model / name).get("eos_token_id")
        stops += value if isinstance(value, list) else [] if value is None else [value]
    return stops


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise damaged(path, f"it is no JSON: {error}") from error
    return content if isinstance(content, dict) else {}
