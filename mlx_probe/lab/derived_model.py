"""What models that are made from another one have in common: types, config.json, texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.tokenizer import TOKENIZER_FILES
from mlx_probe.lab.whole_folder import require_empty

__all__ = [
    "DTYPES",
    "copy_texts",
    "plain_config",
    "refuse_out",
    "stored_type",
    "unpacked_type",
    "write_json",
]

# By the value of --dtype: the type in files.
DTYPES: Mapping[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
# What goes with a model, beside its tokenizer's files of today.
_COPIED = (
    *("generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("vocab.json", "merges.txt", "added_tokens.json", "LICENSE", "LICENSE.txt", "NOTICE"),
)
_PACKED = ("quantization", "quantization_config")


def stored_type(dtype: str) -> str | None:
    """The type in files for a value of --dtype; None for "auto".

    Raises:
        ConfigError: It is neither "auto" nor a key of `DTYPES`.
    """
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"dtype is {dtype}", f"Choose auto, {', '.join(DTYPES)}")
    return DTYPES.get(dtype)


def refuse_out(out: Path, mark: str, *sources: Path) -> None:
    """Refuse a folder with something else than what was written there before.

    Args:
        out: The folder to write.
        mark: A file by which we know what may be replaced.
        sources: Folders that are read.

    Raises:
        ConfigError: It is one of the sources, or holds one.
        ResultError: It is a file, or holds something else.
    """
    place = out.resolve()
    for source in (each.resolve() for each in sources):
        if place == source or place in source.parents:
            raise ConfigError(
                f"{out} holds {source}, which is read", "Choose another folder with --out"
            )
    require_empty(out, mark)


def unpacked_type(model: Checkpoint) -> str:
    """What packed weights become: the type of config.json, or bfloat16."""
    for key in ("dtype", "torch_dtype"):
        stored = DTYPES.get(str(model.config.get(key)))
        if stored is not None:
            return stored
    return "BF16"


def plain_config(model: Checkpoint, dtype: str, packed: bool) -> dict[str, Any]:
    """config.json of the same model with plain weights.

    Args:
        model: The model.
        dtype: Key of `DTYPES`, or "auto".
        packed: Whether it has packed weights.
    """
    config = {key: value for key, value in model.config.items() if key not in _PACKED}
    names = {kind: name for name, kind in DTYPES.items()}
    kind = dtype if dtype != "auto" else names[unpacked_type(model)] if packed else None
    if kind is not None:
        # transformers 5 reads the first, mlx-lm and older versions the second.
        config |= {"dtype": kind, "torch_dtype": kind}
    return config


def copy_texts(base: Path, tokenizer: Path, target: Path) -> None:
    """Copy tokenizer, generation settings and license.

    Args:
        base: Folder of the model.
        tokenizer: Folder of the tokenizer.
        target: Where they go.

    Raises:
        OSError: The disk refused.
    """
    for folder, names in ((tokenizer, TOKENIZER_FILES), (base, _COPIED)):
        for name in names:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, target / name)


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON that people can read."""
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
