"""The metadata of a command that is no job: it has no rows, and is done or not at all.

    run = SmallRun("merge")                 # when the command begins
    with whole_folder(out) as new:
        ...
        run.write(new, inputs, configuration, metrics, written=["."])

run_meta.json then says of such a command what it says of every job: what made it, of what, with
which settings, with what result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import sha256_file
from mlx_probe.core.version import __version__
from mlx_probe.runs.commands import command_name
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.experiments.records import Input
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name
from mlx_probe.runs.meta import read_meta, write_meta
from mlx_probe.runs.provenance import as_utf8, provenance
from mlx_probe.runs.training.folder import training_folder

__all__ = ["META", "SmallRun", "data_input", "model_input", "refuse_other_run"]

META = meta_name(DEFAULT_STEM)
# Bytes. Larger files are weights, and to read them again would take as long as to write them.
_HASHED = 16 << 20


class SmallRun:
    """A command that is no job, from its beginning to its metadata.

    Args:
        kind: Key of `RUN_KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self._kind, self._began = kind, time.perf_counter()
        # Of the beginning: what runs may change the folder, and somebody the code.
        self._made = provenance()

    def write(
        self,
        folder: Path,
        inputs: Sequence[Input],
        configuration: Mapping[str, Any],
        metrics: Mapping[str, Any],
        files: Iterable[str] | None = None,
        name: str = META,
        **more: Any,
    ) -> dict[str, Any]:
        """Write the metadata, last of all.

        Args:
            folder: The folder that the files are in.
            inputs: What they were made from.
            configuration: Settings, with sections in sections.
            metrics: Results, with sections in sections; what is no finite number is left out.
            files: Names of the files; None for all that the folder has.
            name: Of the file; another one than run_meta.json where the folder is shared.
            **more: Further keys: "written" lists checkpoints, as paths in the folder.

        Returns:
            What is written.

        Raises:
            OSError: A file cannot be read.
            ResultError: The disk refused.
        """
        if files is None:
            files = [path.name for path in folder.iterdir() if path.is_file() and path.name != name]
        meta = {
            "kind": self._kind,
            "code_version": __version__,
            "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **self._made,
            "environment": package_versions(),
            "seconds": time.perf_counter() - self._began,
            "inputs": [_plain(asdict(each)) for each in inputs],
            "configuration": _plain(configuration),
            "metrics": _plain(metrics),
            **more,
            "outputs": {file: _described(folder / file) for file in sorted(files)},
        }
        write_meta(folder / name, meta)
        return meta


def refuse_other_run(folder: Path, kind: str) -> dict[str, Any] | None:
    """Refuse a folder with a run of another command, which a new one would hide.

    Args:
        folder: The folder to write; need not exist.
        kind: Of the run to come.

    Returns:
        The metadata of an earlier run of this kind; None where there is none.

    Raises:
        ConfigError: It is a file.
        ResultError: It holds another run, finished or not.
    """
    if folder.is_file():
        raise ConfigError(f"{folder} is a file", "Give a folder with --out")
    meta = read_meta(folder / META) if (folder / META).is_file() else None
    found = None if meta is None else str(meta.get("kind", "analyze"))
    if found is None and (trained := training_folder(folder)) is not None:
        found = "train" if trained == folder else found
    if found not in (None, kind):
        raise ResultError(
            f"{folder} holds a run of `mlx-probe {command_name(str(found))}`",
            "Choose another folder with --out",
        )
    return meta


def model_input(role: str, reference: str, folder: Path | None = None) -> Input:
    """A model that a command read.

    Args:
        role: See `Input`.
        reference: As the user named it.
        folder: Where its files are; None if they are elsewhere.
    """
    if folder is None:
        return Input(role, reference)
    path = Path(os.path.realpath(folder))
    # Where the Hub's cache keeps a revision.
    is_hub = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return Input(role, reference, folder.name if is_hub else "", str(path))


def data_input(source: str, sha256: str = "") -> Input:
    """A text or data that a command read: a path, a package, a data set.

    Args:
        source: As the user named it.
        sha256: Of its content, where known.
    """
    path = Path(source).expanduser()
    return Input("data", source, "", os.path.realpath(path) if path.exists() else "", sha256)


def _described(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    hashed = {"sha256": sha256_file(path)} if size <= _HASHED else {}
    return {**hashed, "bytes": size}


def _plain(value: Any) -> Any:
    """As JSON has it: paths and infinities as text, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return str(value)
    if value is None or isinstance(value, (int, float)):
        return value
    return as_utf8(str(value))
