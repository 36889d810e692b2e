"""Checkpoints: everything that a run needs to go on as if nothing had happened.

    checkpoints/step-120/model.safetensors        weights, float32
                         optimizer.safetensors    momenta, mean squares, decays, counters, rates
                         state.json               `TrainState`, hashes, and what it belongs to

A checkpoint is written beside the others under another name, flushed, and renamed in one step:
there is a whole one or none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from mlx_probe.core.errors import CheckpointError, ProbeError
from mlx_probe.core.files import sha256_file, write_error
from mlx_probe.lab.tensors_file import write_tensors
from mlx_probe.lab.train.state import TrainState

__all__ = [
    "Saved",
    "checkpoint_folders",
    "find_checkpoint",
    "is_checkpoint",
    "read_checkpoint",
    "save_checkpoint",
]

_FORMAT = 1
_NAME = re.compile(r"step-(\d+)")
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class Saved:
    """A checkpoint in memory.

    Attributes:
        folder: Where it was.
        weights: By name.
        optimizer: The optimizer's state, as a tree.
        state: How far the run was.
        about: What it belongs to: "fingerprint" of the run, "data" (fingerprint of the tokens),
            "machine", "model" (its shape), "tokenizer" (its folder).
    """

    folder: Path
    weights: dict[str, mx.array]
    optimizer: dict[str, Any]
    state: TrainState
    about: dict[str, Any]


def save_checkpoint(
    root: Path,
    weights: Mapping[str, mx.array],
    optimizer: Mapping[str, Any],
    state: TrainState,
    about: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint, and delete those that are no longer kept.

    Args:
        root: The folder of checkpoints.
        weights: By name.
        optimizer: The optimizer's state.
        state: How far the run is.
        about: See `Saved`.
        keep: Newest checkpoints to keep.

    Returns:
        The checkpoint's folder.

    Raises:
        ResultError: The disk refused; the checkpoints before are as they were.
    """
    folder = root / f"step-{state.step}"
    temporary = root / f".{folder.name}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            states: dict[str, mx.array] = dict(tree_flatten(dict(optimizer)))
            hashes = {
                # In the order of the names: a tree that was read has another order than a new one.
                name: write_tensors(temporary / name, dict(sorted(arrays.items())))
                for name, arrays in ((_MODEL, weights), (_OPTIMIZER, states))
            }
            content = {"format": _FORMAT, "hashes": hashes, "state": asdict(state), **about}
            _write_flushed(temporary / _STATE, json.dumps(content, indent=1))
            _flush_folder(temporary)
            if folder.exists():
                # The same step once more, such as after an evaluation that was interrupted.
                folder.rename(root / f".{folder.name}.old")
            temporary.rename(folder)
            _flush_folder(root)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise write_error(folder, error) from error
    _delete_old(root, keep)
    return folder


def checkpoint_folders(root: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    found = [(_NAME.fullmatch(path.name), path) for path in root.glob("step-*")]
    numbered = [(int(name[1]), path) for name, path in found if name]
    return [path for _, path in sorted(numbered, reverse=True)]


def is_checkpoint(path: Path) -> bool:
    """Whether a path is the folder of a checkpoint."""
    return (path / _STATE).is_file() and (path / _OPTIMIZER).is_file()


def find_checkpoint(root: Path, refused: list[str]) -> Saved | None:
    """The newest whole checkpoint.

    Args:
        root: The folder of checkpoints.
        refused: Gets what is wrong with each newer one.

    Returns:
        None where there is no checkpoint.

    Raises:
        CheckpointError: There are some, and none is whole.
    """
    folders = checkpoint_folders(root)
    for folder in folders:
        try:
            return read_checkpoint(folder)
        except CheckpointError as error:
            refused.append(error.fact)
    if folders:
        raise CheckpointError(
            f"{root} has no whole checkpoint: {'; '.join(refused)}",
            "Restore one from a backup, or start again with --no-resume",
        )
    return None


def read_checkpoint(folder: Path) -> Saved:
    """Read a checkpoint.

    Raises:
        CheckpointError: It is damaged, of another version, or its weights are not finite.
    """
    remedy = "Delete it, and the one before is used"
    try:
        content = json.loads((folder / _STATE).read_text("utf-8"))
        if content.pop("format") != _FORMAT:
            raise CheckpointError(f"{folder} is of another version of mlx-probe", remedy)
        for name, expected in content.pop("hashes").items():
            if sha256_file(folder / name) != expected:
                raise CheckpointError(f"{folder / name} is damaged: its SHA-256 differs", remedy)
        state = TrainState.from_json(content.pop("state"))
        weights: Any = mx.load(str(folder / _MODEL))
        optimizer: Any = tree_unflatten(list(_load(folder / _OPTIMIZER)))
    except ProbeError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be read: {error}", remedy) from error
    for name, weight in weights.items():
        if not mx.isfinite(weight).all().item():
            raise CheckpointError(f"{folder / _MODEL}: {name} has NaN or infinity", remedy)
    return Saved(folder, weights, optimizer, state, content)


def _load(path: Path) -> Iterator[tuple[str, mx.array]]:
    arrays: Any = mx.load(str(path))
    # Lists of a tree come back in the order of their numbers.
    yield from sorted(arrays.items(), key=lambda item: _natural(item[0]))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]


def _delete_old(root: Path, keep: int) -> None:
    for folder in checkpoint_folders(root)[keep:]:
        # Renamed first: one that is half deleted is no checkpoint.
        folder.rename(root / f".{folder.name}.old")
    for path in (*root.glob(".step-*.old"), *root.glob(".step-*.tmp")):
        shutil.rmtree(path, ignore_errors=True)


def _write_flushed(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
