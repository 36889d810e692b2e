"""What documents describe, by hash: a run or a model that has changed makes them stale."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from mlx_probe.core.files import sha256_file
from mlx_probe.core.formats import FORMATS

__all__ = ["RUN_FILE", "model_files", "model_sha256", "reference_path", "run_sha256"]

# What a finished run has, if a document names no other file.
RUN_FILE = "run_meta.json"
_CONFIG = "config.json"
# Of a training, also of one that goes on.
_METRICS = "metrics.jsonl"


def run_sha256(folder: Path, name: str = RUN_FILE) -> str:
    """The hash of a run: of its metadata, and of the tables and curves that these name.

    Weights in folders of their own do not count: checkpoints may go to save space.

    Args:
        folder: The run.
        name: The file with its metadata.

    Raises:
        OSError: It cannot be read.
    """
    data = (folder / name).read_bytes()
    try:
        meta = json.loads(data)
        named = set(meta.get("outputs") or ())
    except (ValueError, RecursionError, AttributeError, TypeError):
        named = set()
    files = [each for each in sorted(named | {_METRICS}, key=str) if _is_name(each)]
    lines = [f"{name} {hashlib.sha256(data).hexdigest()}\n"]
    lines += [f"{each} {sha256_file(folder / each)}\n" for each in files if _is_file(folder / each)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _is_name(name: object) -> bool:
    """Whether it is the name of a file in the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def model_files(path: Path) -> list[Path]:
    """The weights of a model and its configuration.

    Args:
        path: A folder, or the only file of a model.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_dir():
        return [path]
    suffixes = tuple(suffix for form in FORMATS.values() for suffix in form.suffixes)
    files = [
        file for file in path.iterdir() if file.name.endswith(suffixes) or file.name == _CONFIG
    ]
    return sorted(file for file in files if file.is_file())


def model_sha256(path: Path, hashed: Callable[[Path], str] = sha256_file) -> str:
    """The hash of a model: of names and hashes of its files.

    Args:
        path: A folder, or the only file of a model.
        hashed: Gives the hash of a file.

    Raises:
        OSError: It cannot be read, or has no files.
    """
    files = model_files(path)
    if not files:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    lines = "".join(f"{file.name} {hashed(file)}\n" for file in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def reference_path(document: Path, written: str) -> Path:
    """The path that a document's front matter gives.

    Args:
        document: The document.
        written: The path as it is written: absolute, or from the document's folder.
    """
    return Path(os.path.normpath(document.absolute().parent / Path(written).expanduser()))
